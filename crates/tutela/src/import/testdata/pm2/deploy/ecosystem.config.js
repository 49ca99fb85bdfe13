module.exports = {
  apps: [{ name: "shop", script: "shop.js" }],

  deploy: {
    production: {
      user: "deploy",
      host: ["shop.example"],
      ref: "origin/main",
      repo: "git@example:shop.git",
      path: "/srv/shop",
      "post-deploy": "npm ci && pm2 reload ecosystem.config.js --env production",
    },
  },
};
