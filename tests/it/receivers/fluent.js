// A receiver of the forward protocol made of the Fluent project's own library.
//
//   node fluent.js OUT PORT [--key SECRET] [--cert FILE --certkey FILE]
//
// Writes its port to standard output as one line, then one line of JSON to OUT for each record that it took:
//
//   {"tag": ..., "seconds": N, "nanos": N, "record": {...}}
//
// Bytes that are no text are {"bytes": "base64"}. It acknowledges chunks, as the protocol has it. Ends when its standard
// input does, so that it never outlives the test that started it.

const fs = require("fs");
const { FluentServer } = require("@fluent-org/logger");

const [out, port, ...words] = process.argv.slice(2);
const option = name => (words.includes(name) ? words[words.indexOf(name) + 1] : undefined);

const options = { listenOptions: { host: "127.0.0.1", port: Number(port) } };
if (option("--key")) {
  options.security = { serverHostname: "receiver.test", sharedKey: option("--key") };
}
if (option("--cert")) {
  options.tlsOptions = { cert: fs.readFileSync(option("--cert")), key: fs.readFileSync(option("--certkey")) };
}

const plain = (_, value) => {
  if (value && value.type === "Buffer") return { bytes: Buffer.from(value.data).toString("base64") };
  if (value instanceof Uint8Array) return { bytes: Buffer.from(value).toString("base64") };
  return typeof value === "bigint" ? value.toString() : value;
};

const server = new FluentServer(options);
server.on("entry", (tag, time, record) => {
  const line = { tag, seconds: time.epoch, nanos: time.nano, record };
  fs.appendFileSync(out, JSON.stringify(line, plain) + "\n");
});
server.listen().then(() => console.log(server.port));
process.stdin.on("end", () => process.exit(0)).resume();
