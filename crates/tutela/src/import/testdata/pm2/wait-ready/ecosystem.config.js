'use strict';

module.exports = {
  apps: [{
    name: 'web',
    script: './bin/www',
    interpreter: 'node',
    wait_ready: true,
    listen_timeout: 10000,
    kill_timeout: 3000,
    shutdown_with_message: true,
  }]
}
