// The lending desk: a page with the catalog's books.
'use strict';
const http = require('node:http');
const crypto = require('node:crypto');

const port = Number(process.env.PORT || 4567);
const catalog = process.env.CATALOG_URL;
const key = process.env.SESSION_KEY;
if (!catalog || !key) {
  console.error('CATALOG_URL and SESSION_KEY are needed');
  process.exit(1);
}
const greeting = process.env.BUILD_GREETING || 'The lending desk';

async function page() {
  const answer = await fetch(`${catalog}/books`);
  const { books } = await answer.json();
  const items = books.map((book) => `<li>${book.replace(/[<&]/g, '')}</li>`).join('');
  return `<!doctype html><title>${greeting}</title><h1>${greeting}</h1><ul>${items}</ul>`;
}

const server = http.createServer(async (request, response) => {
  if (request.url === '/up') {
    response.end('up\n');
    return;
  }
  try {
    const body = await page();
    const visit = crypto.createHmac('sha256', key).update(String(Date.now())).digest('hex');
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'set-cookie': `visit=${visit}` });
    response.end(body);
  } catch (error) {
    console.error(String(error));
    response.writeHead(502).end('the catalog does not answer\n');
  }
});
server.listen(port, () => console.log(`the desk is at ${port}`));
process.on('SIGTERM', () => server.close(() => process.exit(0)));
