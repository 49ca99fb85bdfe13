module.exports = {
  apps: [{
    name: "gateway",
    script: "gateway.js",
    out_file: "/var/log/gateway/out.log",
    error_file: "/var/log/gateway/error.log",
    log_date_format: "YYYY-MM-DD HH:mm:ss Z",
    merge_logs: true,
    time: true,
    pid_file: "/run/gateway.pid",
  }],
};
