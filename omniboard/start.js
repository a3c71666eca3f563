'use strict';

/*
 * Starts Omniboard behind a door of our own: on 127.0.0.1 alone, with a login in front of every path.
 *
 * Runs in the folder that holds node_modules. Reads one line of JSON from standard input (mongoUri, database,
 * user, password, port), so that no secret is among the arguments or in the environment; writes one line of
 * JSON to standard output once it serves; ends when standard input does, and so with whoever started it.
 *
 * In a container nobody is at standard input: `start.js FILE HOST PORT` reads the same JSON, less the port, from
 * a file, and listens where it is told to, because the container's own 127.0.0.1 cannot be published. It still
 * answers only to people who reach it as 127.0.0.1 or localhost.
 */

const crypto = require('crypto');
const fs = require('fs');
const http = require('http');
const path = require('path');
const readline = require('readline');

const {patched} = require('./patches');
const {changeQueries} = require('./queries');

const required = require('module').createRequire(path.join(process.cwd(), 'package.json'));
const omniboard = path.dirname(required.resolve('omniboard/package.json'));

function sha256(text) {
  return crypto.createHash('sha256').update(text).digest();
}

/* The names under which the dashboard answers; browsers leave out port 80. */
function ownHosts(port) {
  return ['127.0.0.1', 'localhost'].flatMap(name => (port === 80 ? [name, `${name}:80`] : [`${name}:${port}`]));
}

/* The status that keeps a request out, or 0. A foreign Host is DNS rebinding, a foreign Origin another page. */
function refusal(request, port, login) {
  const hosts = ownHosts(port);
  const {host, origin, authorization} = request.headers;
  if (!hosts.includes(host)) return 421;
  if (origin !== undefined && !hosts.some(known => origin === `http://${known}`)) return 403;
  if (comesFromAnotherSite(request)) return 403;
  if (holdsCode(request.url)) return 400;
  return crypto.timingSafeEqual(sha256(authorization || ''), login) ? 0 : 401;
}

/* A page of another site may link to a page here, and ask for nothing else: a picture's request has no Origin. */
function comesFromAnotherSite(request) {
  const {'sec-fetch-site': site, 'sec-fetch-mode': mode} = request.headers;
  if (site === undefined || site === 'same-origin' || site === 'none') return false;
  return mode !== 'navigate' || request.url.includes('/api/');
}

/* Whether a query asks for code to be run: by MongoDB, or, where Mongoose joins documents, by this process. */
const CODE = ['$where', '$function', '$accumulator'];
function holdsCode(url) {
  const unescaped = text => text.replace(/\\u([0-9a-f]{4})/gi, (_, code) => String.fromCharCode(parseInt(code, 16)));
  return [...new URLSearchParams(url.split('?').slice(1).join('?'))].flat().map(unescaped).some(text => CODE.some(name => text.includes(name)));
}

function refuse(response, status, port) {
  const headers = {'Content-Type': 'text/plain', 'X-Content-Type-Options': 'nosniff'};
  if (status === 401) headers['WWW-Authenticate'] = 'Basic realm="odenet board", charset="UTF-8"';
  const told = {
    400: 'A query that would run code ($where, $function, $accumulator) is refused.',
    403: 'The request comes from the page of another site.',
    421: `This dashboard answers under its own address alone, port included: http://127.0.0.1:${port}/sacred`
  };
  response.writeHead(status, headers).end(told[status] ? `${told[status]}\n` : http.STATUS_CODES[status]);
}

/* Omniboard allows every origin to read; nobody but its own page is meant to. */
function withholdFromOtherPages(response) {
  const setHeader = response.setHeader;
  response.setHeader = function (name, value) {
    return name.toLowerCase().startsWith('access-control-') ? this : setHeader.call(this, name, value);
  };
  response.setHeader('X-Frame-Options', 'SAMEORIGIN');
  response.setHeader('X-Content-Type-Options', 'nosniff');
}

/*
 * What is stored is other people's: a file is shown where it is a picture or plain text, handed over as a download
 * otherwise, and in either case runs nothing. Not even a picture in SVG, which may hold scripts, is shown as one.
 */
const PICTURE = /^image\/(png|jpeg|gif|webp|bmp)\s*(;|$)/i;
const MARKUP = /^[\w.+-]+\/([\w.+-]*\+)?(html|xml|xhtml|svg)\b/i;
const TEXT = /^(text\/[\w.+-]+|application\/(json|x-yaml|yaml|toml))\s*(;|$)/i;

function confineStoredFiles(request, response) {
  if (!/\/files\//i.test(decodedPath(request.url))) return;
  const writeHead = response.writeHead;
  response.writeHead = function (...rest) {
    const type = String(this.getHeader('Content-Type') || '');
    if (TEXT.test(type) && !MARKUP.test(type)) {
      if (!/^application\/json\b/i.test(type)) this.setHeader('Content-Type', 'text/plain; charset=utf-8');
    } else if (!PICTURE.test(type)) {
      this.setHeader('Content-Type', 'application/octet-stream');
      const said = String(this.getHeader('Content-Disposition') || '');
      if (!/^attachment/i.test(said)) this.setHeader('Content-Disposition', 'attachment');
    }
    this.setHeader('Content-Security-Policy', "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:");
    return writeHead.apply(this, rest);
  };
}

function decodedPath(url) {
  try {
    return decodeURIComponent(url.split('?')[0]);
  } catch {
    return url;
  }
}

/* Omniboard's page with our changes, and with the script that chooses the columns of a browser that has not chosen any. */
const build = path.join(omniboard, 'web/build');
const page = fs.readFileSync(path.join(build, 'index.html'), 'utf8');
const [script] = page.match(/\/static\/js\/main[^"]*/);
const own = {
  '/sacred': part('text/html', page.replace('<script', `${tag('page.js')}${tag('first_visit.js')}<script`)),
  [script]: part('text/javascript', patched(fs.readFileSync(path.join(build, script), 'utf8'))),
  '/odenet/page.js': part('text/javascript', fs.readFileSync(path.join(__dirname, 'page.js'))),
  '/odenet/first_visit.js': part('text/javascript', fs.readFileSync(path.join(__dirname, 'first_visit.js')))
};

function tag(name) {
  return `<script src="/odenet/${name}"></script>`;
}

function part(type, content) {
  return {type: `${type}; charset=utf-8`, content, etag: `"${sha256(content).toString('hex')}"`};
}

function serveOwn(request, response) {
  const found = request.method === 'GET' && own[request.url.split('?')[0].replace(/\/$/, '')];
  if (!found) return false;
  const headers = {'Content-Type': found.type, 'Cache-Control': 'no-cache', ETag: found.etag};
  if (request.headers['if-none-match'] === found.etag) response.writeHead(304, headers).end();
  else response.writeHead(200, headers).end(found.content);
  return true;
}

function guardServers(login, host) {
  const createServer = http.createServer;
  http.createServer = function (handler) {
    const server = createServer((request, response) => {
      const {port} = server.address();
      const status = refusal(request, port, login);
      if (status) return refuse(response, status, port);
      withholdFromOtherPages(response);
      confineStoredFiles(request, response);
      if (!serveOwn(request, response)) handler(request, response);
    });
    const listen = server.listen;
    server.listen = (port, ready) => listen.call(server, {port: Number(port), host}, ready);
    server.on('listening', () => announce(server.address().port));
    return server;
  };
}

/* Omniboard's own options give up for good when MongoDB is away for half a minute. */
function connectLastingly(database) {
  const mongoose = required('mongoose');
  const createConnection = mongoose.createConnection.bind(mongoose);
  mongoose.createConnection = uri =>
    createConnection(uri, {
      dbName: database,
      autoIndex: false,
      useNewUrlParser: true,
      useUnifiedTopology: true,
      useFindAndModify: false,
      serverSelectionTimeoutMS: 5000
    });
}

const write = process.stdout.write.bind(process.stdout);
process.stdout.write = process.stderr.write.bind(process.stderr); // Omniboard's own messages go to the log

function announce(port) {
  write(JSON.stringify({port}) + '\n');
}

// Omniboard throws inside callbacks, for example when an artifact is gone; the others can still be looked at.
process.on('uncaughtException', error => console.error(error));

function start({mongoUri, database, user, password}, host, port) {
  guardServers(sha256('Basic ' + Buffer.from(`${user}:${password}`).toString('base64')), host);
  connectLastingly(database);
  changeQueries(required('mongoose'), required('omniboard/dist/models/runs').RunsSchema);
  process.env.NODE_ENV = 'production';
  process.env.CSP_ENABLED = 'true'; // sift, with which Mongoose filters what it has joined, then runs no code of a query
  process.env.MONGO_URI = mongoUri;
  process.env.PORT = String(port);
  required('omniboard/dist/index.js');
}

if (process.argv.length > 2) {
  const [file, host, port] = process.argv.slice(2);
  start(JSON.parse(fs.readFileSync(file, 'utf8')), host, port);
} else {
  const settingsInput = readline.createInterface({input: process.stdin});
  settingsInput.once('line', line => {
    const settings = JSON.parse(line);
    start(settings, '127.0.0.1', settings.port);
  });
  settingsInput.on('close', () => process.exit());
}
