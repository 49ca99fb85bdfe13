/* Everything on this box */
module.exports = {
  apps: [
    {
      name: "api server",
      cwd: "api",
      script: "./dist/index.js",
      instances: 4,
      env: { NODE_ENV: "production" },
    },
    {
      name: "queue",
      cwd: "queue",
      script: "worker.js",
      instances: 2,
      exp_backoff_restart_delay: 200,
      env: { NODE_ENV: "production", CONCURRENCY: 5, VERBOSE: true },
    },
    {
      name: "api server",
      script: "./bin/metrics",
      args: "-listen :9100",
    },
  ],
};
