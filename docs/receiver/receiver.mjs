// The same in a few lines for Node: verify, drop duplicates, answer at once.
//
//   npm install standardwebhooks
//   SIGNING_SECRET=whsec_… node receiver.mjs
//
// It has no TLS of its own, and its memory forgets: put it behind a proxy that has a certificate, and
// keep the ids in your database, in a unique column.
import { createServer } from "node:http";
import { Webhook } from "standardwebhooks";

const secrets = process.env.SIGNING_SECRET.split(" ").map((secret) => new Webhook(secret));
const seen = new Set();
const MAX_BYTES = 1_048_576; // no lead is larger

function verified(body, headers) {
  return secrets.some((secret) => {
    try {
      secret.verify(body, headers);
      return true;
    } catch {
      return false;
    }
  });
}

function work(lead, webhookId) {
  console.log(JSON.stringify({ lead: lead.lead.id, webhookId }));
}

async function read(request) {
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes <= MAX_BYTES) chunks.push(chunk);
  }
  return bytes <= MAX_BYTES ? Buffer.concat(chunks).toString("utf8") : null;
}

createServer(async (request, response) => {
  let body;
  try {
    body = await read(request);
  } catch {
    return; // the connection ended before the request did; uncaught, it would end this program
  }
  if (body === null) {
    response.writeHead(413).end();
    return;
  }
  if (!verified(body, request.headers)) {
    response.writeHead(401).end();
    return;
  }
  const id = request.headers["webhook-id"];
  const isNew = !seen.has(id) && !("x-zbl-test" in request.headers);
  seen.add(id);
  response.writeHead(200).end();
  if (isNew) setImmediate(work, JSON.parse(body), id);
}).listen(Number(process.env.PORT ?? 8080), "127.0.0.1");
