// Restarts before the box swaps
module.exports = {
  apps: [{
    name: 'renderer',
    script: 'dist/main.js',
    node_args: '--max-old-space-size=512 --enable-source-maps',
    max_memory_restart: '300M',
    restart_delay: 4000,
    max_restarts: 10,
    min_uptime: '5s',
    kill_timeout: 5000,
  }],
};
