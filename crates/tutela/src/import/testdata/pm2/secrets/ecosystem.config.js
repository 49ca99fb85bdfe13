module.exports = {
  apps: [{
    name: "billing",
    script: "billing.js",
    args: "--api-key hunter2 --mode live",
    env: {
      DATABASE_URL: "postgres://billing:hunter2@db.example:5432/billing",
      STRIPE_SECRET: "hunter2",
      REGION: "eu",
    },
    env_staging: {
      STRIPE_SECRET: "hunter2",
      REGION: "test",
    },
  }],
};
