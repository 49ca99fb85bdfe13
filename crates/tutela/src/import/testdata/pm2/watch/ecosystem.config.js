module.exports = {
  apps: [{
    name: "dev",
    script: "src/index.ts",
    watch: ["src"],
    ignore_watch: ["node_modules", "*.log"],
    watch_options: { followSymlinks: false },
  }],
};
