"""An OTLP receiver made of the official protobufs: metrics, traces and logs, over HTTP/protobuf and gRPC.

    otlp.py OUT [--http PORT] [--grpc PORT]

Writes its ports to standard output as one line of JSON, `{"http": 4318, "grpc": 4317}`, then one line of JSON to OUT
for each request that it took:

    {"signal": "metrics", "protocol": "http", "path": ..., "headers": {...}, "bytes": N, "message": {...}}

`message` is the request in the protobuf form of JSON, with the names of the .proto files. A field that the official
messages do not have makes the request refused: nothing that is sent may be lost unseen.

POST /behave with JSON changes what it does with the requests that follow:

    {"refuse": 3, "status": 503, "retry_after": 1}   says no to so many requests, on both protocols
    {"reject": 2, "text": "too old"}                 takes requests, and says that it did not take so many of each
    {}                                               takes everything

Ends when its standard input does, so that it never outlives the test that started it.
"""

import argparse
import gzip
import json
import sys
import threading
from concurrent import futures
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.unknown_fields import UnknownFieldSet
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

# signal: gRPC service, request, response, the field of partial_success that counts
SIGNALS = {
    "metrics": (
        "opentelemetry.proto.collector.metrics.v1.MetricsService",
        metrics.ExportMetricsServiceRequest,
        metrics.ExportMetricsServiceResponse,
        "rejected_data_points",
    ),
    "traces": (
        "opentelemetry.proto.collector.trace.v1.TraceService",
        traces.ExportTraceServiceRequest,
        traces.ExportTraceServiceResponse,
        "rejected_spans",
    ),
    "logs": (
        "opentelemetry.proto.collector.logs.v1.LogsService",
        logs.ExportLogsServiceRequest,
        logs.ExportLogsServiceResponse,
        "rejected_log_records",
    ),
}

lock = threading.Lock()
behaviour = {}
out = None


def unknown(message):
    """Whether a message, or one within it, has fields that its .proto does not."""
    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        inner = value if field.is_repeated else [value]
        if any(unknown(one) for one in inner):
            return True
    return False


def refused():
    """The behaviour, if this request is to be refused."""
    with lock:
        left = behaviour.get("refuse", 0)
        if left:
            behaviour["refuse"] = left - 1
            return dict(behaviour)
    return None


def take(signal, protocol, path, headers, body):
    """Writes a request down. Answers with the response; raises ValueError for what is no such request."""
    _, request, response, counter = SIGNALS[signal]
    message = request()
    try:
        message.ParseFromString(body)
    except Exception as error:
        raise ValueError(f"no {signal}: {error}") from error
    if unknown(message):
        raise ValueError(f"{signal} with fields that the protocol does not have")
    line = {
        "signal": signal,
        "protocol": protocol,
        "path": path,
        "headers": headers,
        "bytes": len(body),
        "message": MessageToDict(message, preserving_proto_field_name=True),
    }
    answer = response()
    with lock:
        out.write(json.dumps(line) + "\n")
        out.flush()
        if behaviour.get("reject"):
            setattr(answer.partial_success, counter, behaviour["reject"])
            answer.partial_success.error_message = behaviour.get("text", "")
    return answer


class Http(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/behave":
            with lock:
                behaviour.clear()
                behaviour.update(json.loads(body))
            return self.answer(200, b"")
        signal = self.path.removeprefix("/v1/")
        if signal not in SIGNALS:
            return self.answer(404, b"no such signal")
        if self.headers.get("content-type") != "application/x-protobuf":
            return self.answer(415, b"not protobuf")
        told = refused()
        if told:
            return self.answer(told.get("status", 503), b"told to refuse", told.get("retry_after"))
        try:
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = take(signal, "http", self.path, headers, body)
        except (ValueError, OSError, EOFError) as error:
            return self.answer(400, str(error).encode())
        self.answer(200, answer.SerializeToString())

    def answer(self, status, body, retry_after=None):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf" if status == 200 else "text/plain")
        self.send_header("content-length", str(len(body)))
        if retry_after is not None:
            self.send_header("retry-after", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def grpc_handler(signal):
    service, _, _, _ = SIGNALS[signal]

    def export(body, context):
        told = refused()
        if told:
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to refuse")
        headers = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        try:
            return take(signal, "grpc", f"/{service}/Export", headers, body)
        except ValueError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))

    method = grpc.unary_unary_rpc_method_handler(
        export, request_deserializer=lambda body: body, response_serializer=lambda answer: answer.SerializeToString()
    )
    return grpc.method_handlers_generic_handler(service, {"Export": method})


def main():
    global out
    parser = argparse.ArgumentParser()
    parser.add_argument("out")
    parser.add_argument("--http", type=int, default=0)
    parser.add_argument("--grpc", type=int, default=0)
    words = parser.parse_args()
    out = open(words.out, "a", encoding="utf-8")

    http_server = ThreadingHTTPServer(("127.0.0.1", words.http), Http)
    http_server.daemon_threads = True
    threading.Thread(target=http_server.serve_forever, daemon=True).start()

    grpc_server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    grpc_server.add_generic_rpc_handlers([grpc_handler(signal) for signal in SIGNALS])
    grpc_port = grpc_server.add_insecure_port(f"127.0.0.1:{words.grpc}")
    grpc_server.start()

    print(json.dumps({"http": http_server.server_address[1], "grpc": grpc_port}), flush=True)
    sys.stdin.read()
    grpc_server.stop(None)
    http_server.shutdown()


main()
