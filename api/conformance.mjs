// Holds recorded HTTP exchanges against openapi.yaml: is the operation known, did the request fit when the server took
// it, and are status, headers, content type and body what the interface promises?
//
// An exchange: { method, url, status, requestHeaders, requestBody, responseHeaders, responseBody }. Bodies are texts (or
// null when they were binary or not kept); header names may be in any case.
import Ajv2020 from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { loadApi, operations } from './generate.mjs';

const lower = (headers) =>
  Object.fromEntries(Object.entries(headers ?? {}).map(([name, value]) => [name.toLowerCase(), String(value)]));

const mediaType = (text) => (text ?? '').split(';')[0].trim().toLowerCase();

export class Conformance {
  constructor() {
    this.api = loadApi();
    this.ajv = new Ajv2020({ strict: false, allErrors: true });
    addFormats(this.ajv);
    this.ajv.addSchema(this.api, 'api');
    this.operations = operations(this.api).map((entry) => ({
      ...entry,
      pattern: new RegExp(`^${entry.path.replace(/[.]/g, '\\.').replace(/\{[a-z0-9_]+\}/g, '([^/]+)')}$`),
    }));
    this.seen = new Map(); // operationId → set of statuses
  }

  // Validator of a schema of components/schemas, by name.
  schema(name) {
    if (!this.api.components.schemas[name]) throw new Error(`there is no schema ${name}`);
    return this.ajv.compile({ $ref: `api#/components/schemas/${name}` });
  }

  find(method, path) {
    const wanted = method.toLowerCase() === 'head' ? 'get' : method.toLowerCase();
    const fits = this.operations.filter((entry) => entry.method === wanted && entry.pattern.test(path));
    // A path without parameters is meant before one with.
    return fits.sort((a, b) => (a.path.match(/\{/g) ?? []).length - (b.path.match(/\{/g) ?? []).length)[0];
  }

  deref(node) {
    if (!node?.$ref) return node;
    return node.$ref.replace(/^#\//, '').split('/').reduce((at, key) => at[key], this.api);
  }

  validate(schema, value) {
    this.compiled ??= new Map();
    const key = JSON.stringify(schema);
    if (!this.compiled.has(key)) {
      const rooted = JSON.parse(key, (name, v) => (name === '$ref' && typeof v === 'string' ? v.replace(/^#/, 'api#') : v));
      this.compiled.set(key, this.ajv.compile(rooted));
    }
    const check = this.compiled.get(key);
    return check(value) ? [] : check.errors.map((e) => `${e.instancePath || '/'} ${e.message}`);
  }

  // What is wrong with the exchange, as sentences; empty when it conforms.
  check(exchange) {
    const url = new URL(exchange.url, 'http://kerf');
    if (!/^\/(api|dicom-web|healthz|readyz|metrics)/.test(url.pathname)) return []; // the web app's own files
    const entry = this.find(exchange.method, decodeURI(url.pathname));
    const name = `${exchange.method} ${url.pathname} → ${exchange.status}`;
    const response = lower(exchange.responseHeaders);
    if (!entry) {
      const known = this.operations.some((o) => o.pattern.test(url.pathname));
      const right = known ? 405 : 404;
      return [right, 401].includes(exchange.status) ? [] : [`${name}: the interface has no such operation`];
    }
    const statuses = this.seen.get(entry.id) ?? this.seen.set(entry.id, new Set()).get(entry.id);
    statuses.add(exchange.status);
    const problems = [];
    const declared = this.deref(
      entry.operation.responses[String(exchange.status)] ?? (exchange.status >= 400 ? entry.operation.responses.default : undefined),
    );
    if (!declared) return [`${name}: this status is not in the interface`];
    problems.push(...this.checkHeaders(declared, response), ...this.checkBody(exchange, declared, response));
    if (exchange.status < 400) problems.push(...this.checkRequest(exchange, entry, url));
    return problems.map((problem) => `${name}: ${problem}`);
  }

  checkHeaders(declared, response) {
    const problems = [];
    for (const [header, described] of Object.entries(declared.headers ?? {})) {
      const value = response[header.toLowerCase()];
      if (value === undefined && described.required === false) continue; // headers are promised unless this is said
      if (value === undefined) problems.push(`the header ${header} is missing`);
      else if (described.schema) problems.push(...this.validate(described.schema, value).map((e) => `${header}: ${e}`));
    }
    return problems;
  }

  checkBody(exchange, declared, response) {
    const type = mediaType(response['content-type']);
    if (!declared.content) {
      return exchange.responseBody ? ['there is a body where none belongs'] : [];
    }
    if (exchange.method === 'HEAD') return [];
    const described = declared.content[type] ?? declared.content['*/*'];
    if (!described) return [`the content type ${type || '(none)'} is not in the interface`];
    if (!/json/.test(type) || typeof exchange.responseBody !== 'string' || !described.schema) return [];
    try {
      return this.validate(described.schema, JSON.parse(exchange.responseBody));
    } catch (error) {
      return [`the body is not JSON: ${error.message}`];
    }
  }

  // What the server took must have been right: otherwise the interface is stricter than the server.
  checkRequest(exchange, entry, url) {
    const problems = [];
    const headers = lower(exchange.requestHeaders);
    for (const parameter of entry.parameters) {
      const value = parameter.in === 'query' ? url.searchParams.get(parameter.name) : null;
      if (value === null) continue;
      const type = this.deref(parameter.schema)?.type;
      const typed = type === 'integer' && /^-?\d+$/.test(value) ? Number(value) : type === 'boolean' ? value === 'true' : value;
      problems.push(...this.validate(parameter.schema, typed).map((e) => `query ${parameter.name}: ${e}`));
    }
    for (const name of url.searchParams.keys())
      if (!entry.parameters.some((p) => p.in === 'query' && p.name === name)) problems.push(`the query ${name} is not in the interface`);
    const content = entry.operation.requestBody?.content;
    const described = content?.['application/json'];
    if (described?.schema && typeof exchange.requestBody === 'string' && mediaType(headers['content-type']) === 'application/json')
      problems.push(...this.validate(described.schema, JSON.parse(exchange.requestBody)).map((e) => `the request: ${e}`));
    return problems;
  }
}
