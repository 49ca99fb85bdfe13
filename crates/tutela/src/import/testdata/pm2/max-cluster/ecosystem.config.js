module.exports = {
  apps: [{
    name: "front",
    script: "build/index.js",
    instances: "max",
    exec_mode: "cluster",
    increment_var: "PORT",
    env: { PORT: 3000 },
  }],
}
