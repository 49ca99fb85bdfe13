module.exports = {
  apps: [{
    name: "scraper",
    script: "scraper.py",
    interpreter: "/opt/venv/bin/python",
    interpreter_args: "-u",
    args: ["--interval", "60", "--out", "data dir"],
    cwd: "/srv/scraper",
  }],
};
