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

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString("utf8");
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
