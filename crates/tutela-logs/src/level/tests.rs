//! Lines as programs write them, and lines that only look like it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::Level::{self, Debug, Error, Fatal, Info, Notice, Trace, Warn};
use super::detect;
use proptest::prelude::*;

/// What is found, line by line, of a table.
fn check(lines: &[(Option<Level>, &str)]) {
    let wrong: Vec<String> = lines
        .iter()
        .filter(|(expected, line)| detect(line.as_bytes()) != *expected)
        .map(|(expected, line)| format!("{expected:?} and not {:?}: {line}", detect(line.as_bytes())))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn levels_of_json_loggers_are_found() {
    check(&[
        // pino, bunyan, winston, zap, zerolog, logrus, slog, structlog, log4j ECS, Serilog, MongoDB, Caddy
        (Some(Error), r#"{"level":50,"time":1531171074631,"pid":657,"hostname":"h","msg":"boom"}"#),
        (
            Some(Info),
            r#"{"name":"app","hostname":"h","pid":1,"level":30,"msg":"up","time":"2012-02-03T18:02:21Z","v":0}"#,
        ),
        (Some(Warn), r#"{"message":"the \"level\": \"error\" is no key","level":"warn"}"#),
        (Some(Warn), r#"{"level":"warn","ts":1515784.1,"caller":"a/b.go:12","msg":"retrying"}"#),
        (Some(Debug), r#"{ "level" : "debug", "time": 1 }"#),
        (Some(Fatal), r#"{"level":"panic","msg":"x","time":"2015"}"#),
        (Some(Info), r#"{"time":"2022-11-08T15:28:26-05:00","level":"INFO","msg":"hello","count":3}"#),
        (Some(Error), r#"{"event": "it failed", "timestamp": "2022", "level": "error"}"#),
        (Some(Warn), r#"{"@timestamp":"2019-08-06T12:09:12.375Z","log.level": "WARN","message":"m"}"#),
        (
            Some(Warn),
            r#"{"@timestamp":"2019-08-06T12:09:12.375Z","log":{"logger":"a","level":"warning"},"message":"m"}"#,
        ),
        (Some(Error), r#"{"@t":"2016-06-07T03:44:57.8Z","@mt":"Hello, {User}","@l":"Error","User":"x"}"#),
        (Some(Warn), r#"{"t":{"$date":"2020-05-01T15:16:17.180+00:00"},"s":"W","c":"NETWORK","id":1,"msg":"m"}"#),
        (Some(Debug), r#"{"t":{"$date":"2020-05-01T15:16:17.180+00:00"},"s":"D2","c":"NETWORK","id":1,"msg":"m"}"#),
        (Some(Fatal), r#"{"severity":"CRITICAL","message":"m","time":"2022"}"#),
        (Some(Notice), r#"{"timestamp":"2022","severity":"NOTICE"}"#),
        (Some(Error), r#"{"asctime": "2022-01-01 00:00:00,000", "levelname": "ERROR", "message": "m"}"#),
        (None, r#"{"user":{"level":"error"},"message":"deeper is another's"}"#),
        (None, r#"{"msg":"level is error"}"#),
        (None, r#"{"level":{"a":1}}"#),
        (None, r#"{"level":true,"x":1}"#),
        (None, r#"{"a":1} {"level":"error"}"#),
        (None, r#"{"level":"err"#),
    ]);
}

#[test]
fn levels_of_logfmt_and_of_syslog_are_found() {
    check(&[
        (Some(Warn), r#"time="2015-03-26T01:27:38-04:00" level=warning msg="The group's number increased""#),
        (Some(Info), "time=2023-08-04T16:09:19.155-05:00 level=INFO msg=\"hello level=error\" count=3"),
        (Some(Info), "time=2023-08-04T16:09:19.155-05:00 level=INFO+2 msg=hello"),
        (Some(Error), "ts=2023-08-04T16:09:19.155Z caller=main.go:12 level=error err=\"no route\""),
        (Some(Info), "t=2014-05-02T16:07:23 lvl=info msg=hi"),
        (Some(Error), "level=\"error\" msg=x"),
        (Some(Debug), "msg=\"set level=fatal\" level=debug"),
        (None, "msg=\"an error\" errors=0 sublevel=error"),
        (None, "level=3.5km away"),
        (Some(Error), "<3>disk is gone"),
        (Some(Warn), "<4>disk is nearly gone"),
        (Some(Info), "<134>1 2022-10-11T22:14:15.003Z host app 1 ID47 - text"),
        (Some(Fatal), "<0>kernel panic"),
        (None, "<192>no priority"),
        (None, "<3 apples"),
        (Some(Error), "2024.01.01 12:00:00.000000 [ 1 ] {} <Error> Application: bad"),
    ]);
}

#[test]
fn levels_of_loggers_for_people_are_found() {
    check(&[
        // glog, klog
        (Some(Error), "E0102 15:04:05.000000       1 server.go:12] it failed"),
        (Some(Warn), "W20240102 15:04:05.000000 1 server.cc:12] it may fail"),
        // python: basicConfig, usual formats, uvicorn, gunicorn, celery, loguru, airflow
        (Some(Error), "ERROR:root:it failed"),
        (Some(Warn), "2024-01-01 12:00:00,123 - root - WARNING - careful"),
        (Some(Info), "2024-01-01 12:00:00,123 INFO supervisord started with pid 1"),
        (Some(Info), "INFO:     127.0.0.1:52144 - \"GET / HTTP/1.1\" 500 Internal Server Error"),
        (Some(Info), "[2024-01-01 12:00:00 +0000] [123] [INFO] Listening at: http://127.0.0.1:8000 (123)"),
        (Some(Fatal), "[2024-01-01 12:00:00,123: CRITICAL/MainProcess] Unrecoverable error"),
        (Some(Info), "2024-01-01 12:00:00.000 | INFO     | __main__:<module>:1 - up"),
        (Some(Info), "2024-01-01 12:00:00.000 | SUCCESS  | __main__:<module>:1 - up"),
        (Some(Info), "[2024-01-01 12:00:00,123] {taskinstance.py:1} INFO - up"),
        // java: logback, Spring, log4j, JUL, Kafka, Elasticsearch, Minecraft
        (Some(Debug), "12:00:00.123 [main] DEBUG com.foo.Bar - text"),
        (Some(Info), "2024-01-01 12:00:00.123  INFO 1234 --- [           main] c.f.Bar  : text"),
        (Some(Fatal), "2024-01-01 12:00:00,123 FATAL [main] (Bar.java:12) - text"),
        (Some(Error), "SEVERE: Exception sending context initialized event"),
        (Some(Debug), "FINE: text"),
        (Some(Error), "[2024-01-01 12:00:00,123] ERROR [KafkaServer id=0] Fatal error (kafka.server.KafkaServer)"),
        (Some(Info), "[2024-01-01T12:00:00,123][INFO ][o.e.n.Node               ] [node] started"),
        (Some(Warn), "[12:00:00] [Server thread/WARN]: Can't keep up!"),
        // nginx, Apache, HAProxy, MySQL, PostgreSQL, redis, Envoy, RabbitMQ, PHP, Monolog
        (Some(Error), "2024/01/01 12:00:00 [error] 123#0: *1 open() \"/x\" failed (2: No such file or directory)"),
        (Some(Fatal), "nginx: [emerg] bind() to 0.0.0.0:80 failed (98: Address already in use)"),
        (Some(Notice), "[Mon Jan 01 12:00:00.123456 2024] [mpm_event:notice] [pid 1:tid 2] AH00489: configured"),
        (Some(Error), "[Mon Jan 01 12:00:00.123456 2024] [core:error] [pid 1] (13)Permission denied"),
        (Some(Fatal), "[ALERT]    (1) : Starting frontend main: cannot bind socket"),
        (Some(Warn), "2024-01-01T00:00:00.000000Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed"),
        (Some(Info), "2024-01-01 12:00:00.000 UTC [12] LOG:  database system is ready"),
        (Some(Error), "2024-01-01 12:00:00.000 UTC [12] app@db ERROR:  relation \"x\" does not exist"),
        (Some(Warn), "1:M 01 Jan 2024 12:00:00.000 # Server initialized"),
        (Some(Notice), "1:M 01 Jan 2024 12:00:00.000 * Ready to accept connections"),
        (Some(Info), "[2024-01-01 00:00:00.000][1][info][main] [source/server.cc:1] starting"),
        (Some(Info), "2024-01-01 12:00:00.000 [info] <0.222.0> Server startup complete"),
        (Some(Warn), "[01-Jan-2024 12:00:00 UTC] PHP Warning:  Undefined variable $x in /a.php on line 3"),
        (Some(Fatal), "[01-Jan-2024 12:00:00 UTC] PHP Fatal error:  Uncaught Error in /a.php"),
        (Some(Error), "[2024-01-01 12:00:00] local.ERROR: text {\"a\":1} []"),
        // Rust: tracing with and without colour, env_logger; Go: slog, logrus, zerolog, zap, hclog
        (Some(Info), "2024-01-01T12:00:00.000000Z  INFO app::web: listening addr=0.0.0.0:80"),
        (
            Some(Error),
            "\x1b[2m2024-01-01T12:00:00.000000Z\x1b[0m \x1b[31mERROR\x1b[0m \x1b[2mapp\x1b[0m\x1b[2m:\x1b[0m it failed",
        ),
        (Some(Warn), "[2024-01-01T00:00:00Z WARN  app] careful"),
        (Some(Warn), "[\x1b[90m2024-01-01T00:00:00Z\x1b[0m \x1b[33mWARN \x1b[0m app] careful"),
        (Some(Info), "2024/01/01 12:00:00 INFO hello count=3"),
        (Some(Info), "\x1b[36mINFO\x1b[0m[0000] A walrus appears                animal=walrus"),
        (Some(Info), "INFO[0000] A walrus appears                              animal=walrus"),
        (Some(Error), "3:04PM ERR it failed error=\"x\""),
        (Some(Warn), "2024-01-01T12:00:00.000Z\tWARN\tcaddy/a.go:1\tcareful"),
        (Some(Info), "1.7e9\tinfo\tcaller/a.go:1\tup"),
        (Some(Debug), "2024-01-01T12:00:00.000Z [DEBUG] agent: text"),
        // .NET, Serilog, NLog, Ruby, Elixir, npm, compilers, git, chromium, syslog daemons
        (Some(Info), "info: Microsoft.Hosting.Lifetime[14]"),
        (Some(Error), "fail: Microsoft.AspNetCore.Server.Kestrel[13]"),
        (Some(Info), "\x1b[40m\x1b[32minfo\x1b[39m\x1b[22m\x1b[49m: Microsoft.Hosting.Lifetime[14]"),
        (Some(Warn), "[12:00:00 WRN] careful"),
        (Some(Error), "2024-01-01 12:00:00.0000|ERROR|App.Name|text"),
        (Some(Trace), "2024-01-01 12:00:00.0000|Trace|App.Name|text"),
        (Some(Info), "I, [2024-01-01T12:00:00.123456 #123]  INFO -- : Started"),
        (Some(Error), "12:00:00.123 [error] GenServer terminating"),
        (Some(Error), "npm ERR! code ENOENT"),
        (Some(Warn), "npm WARN deprecated x@1"),
        (Some(Error), "error[E0382]: borrow of moved value: `x`"),
        (Some(Warn), "warning: unused variable: `x`"),
        (Some(Error), "main.c:12:5: error: expected ';' before '}' token"),
        (Some(Fatal), "fatal: not a git repository (or any of the parent directories): .git"),
        (Some(Fatal), "panic: runtime error: index out of range [3] with length 3"),
        (Some(Error), "[1234:5678:0101/120000.000000:ERROR:gpu_init.cc(1)] Passthrough is not supported"),
        (Some(Error), "Jan  1 12:00:00 host app[123]: ERROR it failed"),
        (Some(Error), "Error: Cannot find module 'x'"),
        (Some(Error), "ERROR it failed"),
        (Some(Warn), "WARN"),
    ]);
}

#[test]
fn words_of_sentences_addresses_and_counts_are_no_levels() {
    check(&[
        (None, ""),
        (None, "   "),
        (None, "\x1b[0m"),
        (None, "\x1b"),
        (None, "\x1b["),
        (None, "no error was found"),
        (None, "no ERROR found"),
        (None, "there was an ERROR in the file"),
        (None, "12:00:00 all fine, no ERROR here"),
        (None, "errors=0 warnings=3"),
        (None, "error_count 3"),
        (None, "information about the debug build"),
        (None, "debug build of the warning system"),
        (None, "GET /error HTTP/1.1"),
        (None, "GET https://example.org/ERROR/info?level=error HTTP/1.1"),
        (None, "127.0.0.1 - - [01/Jan/2024:12:00:00 +0000] \"GET /ERROR: HTTP/1.1\" 404 153 \"-\" \"curl error: 8\""),
        (None, "ERROR_CODE=5"),
        (None, "ERRORS: 0"),
        (None, "NOTE that this is a sentence"),
        (None, "FINE day today"),
        (None, "Listening on port 8080"),
        (None, "array[error] is set"),
        (None, "see [info] for more"),
        (None, "we went on and on and then saw ERROR: too far in"),
        (None, "Information wants to be free"),
        (None, "E0102 is a code"),
        (None, "Die Prüfung ergab keinen ERROR bisher"),
    ]);
}

#[test]
fn usual_spellings_are_read_and_all_have_their_place() {
    for (level, spellings) in [
        (Trace, &["trace", "TRACE", "verbose", "trc", "10", "T"][..]),
        (Debug, &["debug", "dbg", "7", "20", "d"]),
        (Info, &["info", "information", "Informational", "6", "30"]),
        (Notice, &["notice", "5", "N"]),
        (Warn, &["warn", "warning", "WARNING", "4", "40", "w"]),
        (Error, &["error", "err", "severe", "3", "50", " error "]),
        (Fatal, &["fatal", "critical", "crit", "alert", "emerg", "panic", "0", "1", "2", "60"]),
    ] {
        for spelling in spellings {
            assert_eq!(spelling.parse::<Level>().unwrap(), level, "{spelling}");
        }
        assert_eq!(level.word().parse::<Level>().unwrap(), level);
    }
    for none in ["", "8", "9", "100", "errors", "x", "an information of some length", "-1", "5x"] {
        assert!(none.parse::<Level>().is_err(), "{none}");
    }
    assert!(Level::ALL.is_sorted());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn no_line_is_too_strange_to_look_at(
        front in prop::sample::select(vec![
            "", "{", "<", "[", "\x1b[", "{\"level\":", "level=", "E0102 ", "1:M ", "{\"log\":{", "(", "\"", "\\\"", "ERROR|",
        ]),
        rest in prop::collection::vec(prop_oneof![
            Just(b'"'), Just(b'\\'), Just(b'{'), Just(b'}'), Just(b'['), Just(b']'), Just(b':'), Just(b'='), Just(b' '),
            Just(0x1b), Just(b'|'), Just(b'E'), any::<u8>(),
        ], 0..1300),
    ) {
        let mut line = front.as_bytes().to_vec();
        line.extend(rest);
        let _ = detect(&line);
        // More behind what is looked at changes nothing.
        if line.len() > super::json::HEAD_BYTES {
            prop_assert_eq!(detect(&line[..line.len().min(super::json::HEAD_BYTES + 64)]), detect(&line));
        }
    }
}
