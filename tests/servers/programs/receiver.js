// A receiver on Node's https: node receiver.js PORT ARRIVED CERTIFICATE [KEEP_ALIVE_MILLISECONDS]
const fs = require("node:fs");
const https = require("node:https");

const [port, arrived, certificate, keepAlive] = process.argv.slice(2);
const pem = fs.readFileSync(certificate);
const server = https.createServer({ cert: pem, key: pem }, (request, response) => {
  fs.appendFileSync(arrived, `${request.headers["webhook-id"]}\n`);
  request.resume();
  request.on("end", () => response.end("{}"));
});
if (keepAlive) server.keepAliveTimeout = Number(keepAlive);
server.listen(Number(port), "127.0.0.1");
