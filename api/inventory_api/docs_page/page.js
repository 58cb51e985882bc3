"use strict";

// Everything comes into the page as text: nothing in the document can be taken for markup.
const METHODS = ["get", "post", "put", "patch", "delete"];
const DEEPEST = 4;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function resolved(schema, all) {
  while (schema && schema.$ref) {
    schema = schema.$ref.slice(2).split("/").reduce((found, part) => found[part], all);
  }
  return schema || {};
}

function choices(schema) {
  return (schema.anyOf || schema.oneOf || [schema]).filter((each) => each.type !== "null");
}

function kind(schema, all) {
  const names = choices(resolved(schema, all)).map((each) => {
    const found = resolved(each, all);
    if (found.enum) return found.enum.map((value) => JSON.stringify(value)).join(" or ");
    if (found.const !== undefined) return JSON.stringify(found.const);
    if (found.type === "array") return `list of ${kind(found.items, all)}`;
    return found.format || found.type || "anything";
  });
  const bounds = [["minimum", "≥"], ["maximum", "≤"], ["minLength", "length ≥"], ["maxLength", "length ≤"]];
  const inner = choices(resolved(schema, all)).map((each) => resolved(each, all))[0] || {};
  // Of an identifier, JavaScript can't write the largest, and nobody needs to read it.
  const isTold = ([name]) => inner[name] !== undefined && inner[name] <= Number.MAX_SAFE_INTEGER;
  const told = bounds.filter(isTold).map(([name, sign]) => `${sign} ${inner[name]}`);
  return [names.join(" or "), ...told].join(", ");
}

function example(schema, all, depth = 0) {
  const found = resolved(schema, all);
  for (const given of [found.example, (found.examples || [])[0], found.default, (found.enum || [])[0], found.const]) {
    if (given !== undefined && given !== null) return given;
  }
  const first = resolved(choices(found)[0], all);
  if (first !== found) return example(first, all, depth);
  if (depth > DEEPEST) return null;
  if (found.type === "object" || found.properties) {
    const needed = Object.entries(found.properties || {}).filter(([name]) => (found.required || []).includes(name));
    return Object.fromEntries(needed.map(([name, inner]) => [name, example(inner, all, depth + 1)]));
  }
  if (found.type === "array") return [example(found.items, all, depth + 1)];
  if (found.type === "integer" || found.type === "number") return Math.max(1, found.minimum || 1);
  if (found.type === "boolean") return true;
  return found.format === "date-time" ? "2030-01-01T12:00:00Z" : "…";
}

function fields(schema, all, depth = 0) {
  const found = resolved(choices(resolved(schema, all))[0], all);
  const list = element("ul");
  for (const [name, inner] of Object.entries(found.properties || {})) {
    const row = element("li");
    const needed = (found.required || []).includes(name);
    row.append(element("code", name), element("span", ` ${kind(inner, all)}${needed ? "" : ", may be left out"}`, "kind"));
    const about = resolved(inner, all).description;
    if (about) row.append(element("span", ` — ${about}`));
    const each = resolved(choices(resolved(inner, all))[0], all);
    const below = each.type === "array" ? each.items : each;
    if (depth < DEEPEST && choices(resolved(below, all)).some((one) => resolved(one, all).properties)) {
      row.append(fields(below, all, depth + 1));
    }
    list.append(row);
  }
  return list;
}

function bodyOf(described, all) {
  const contents = Object.entries(resolved(described, all).content || {});
  if (!contents.length) return null;
  const [, told] = contents.find(([, content]) => content.schema) || [null, {}];
  return { type: contents[0][0], schema: told.schema || {}, given: told.example };
}

function curl(path, method, operation, body, all) {
  const lines = [`curl -X ${method.toUpperCase()} "$URL${path}"`];
  if (operation.security) lines.push('-H "Authorization: Bearer $TOKEN"');
  for (const parameter of operation.parameters || []) {
    if (parameter.in === "header" && parameter.required) lines.push(`-H "${parameter.name}: …"`);
  }
  if (body) {
    const content = body.given === undefined ? example(body.schema, all) : body.given;
    lines.push(`-H "Content-Type: ${body.type}"`);
    if (body.type.includes("json")) lines.push(`-d '${JSON.stringify(content).replaceAll("'", "'\\''")}'`);
    else lines.push("--data-binary @FILE");
  }
  return lines.join(" \\\n  ");
}

function operationShown(path, method, operation, all) {
  const shown = element("details");
  shown.id = operation.operationId;
  const summary = element("summary");
  summary.append(element("span", method.toUpperCase(), "method"), element("code", path));
  summary.append(element("span", operation.summary || "", "about"));
  shown.append(summary);
  if (operation.description) shown.append(element("p", operation.description));
  if ((operation.parameters || []).length) {
    shown.append(element("h3", "Parameters"));
    const list = element("ul");
    for (const parameter of operation.parameters) {
      const row = element("li");
      const needed = parameter.required ? "" : ", may be left out";
      row.append(element("code", parameter.name));
      row.append(element("span", ` in ${parameter.in}: ${kind(parameter.schema, all)}${needed}`, "kind"));
      if (parameter.description) row.append(element("span", ` — ${parameter.description}`));
      list.append(row);
    }
    shown.append(list);
  }
  const body = bodyOf(operation.requestBody, all);
  if (body) shown.append(element("h3", `Body (${body.type})`), fields(body.schema, all));
  for (const [status, response] of Object.entries(operation.responses || {})) {
    const answer = bodyOf(response, all);
    shown.append(element("h3", `${status === "default" ? "A problem" : status}${answer ? ` (${answer.type})` : ""}`));
    if (answer) shown.append(fields(answer.schema, all));
  }
  shown.append(element("pre", curl(path, method, operation, body, all)));
  return shown;
}

function show(all, main) {
  const sections = new Map();
  for (const [path, methods] of Object.entries(all.paths)) {
    for (const method of METHODS.filter((each) => methods[each])) {
      const tag = (methods[method].tags || ["other"])[0];
      if (!sections.has(tag)) {
        const section = element("section");
        section.append(element("h2", tag));
        sections.set(tag, section);
      }
      sections.get(tag).append(operationShown(path, method, methods[method], all));
    }
  }
  main.textContent = "";
  main.append(...sections.values());
}

function filterBy(words, main) {
  for (const shown of main.querySelectorAll("details")) {
    shown.hidden = !shown.querySelector("summary").textContent.toLowerCase().includes(words.toLowerCase());
  }
}

async function start() {
  const main = document.getElementById("operations");
  try {
    const all = await (await fetch("openapi.json")).json();
    document.getElementById("title").textContent = `${all.info.title} API ${all.info.version}`;
    show(all, main);
    const filter = document.getElementById("filter");
    filter.addEventListener("input", () => filterBy(filter.value, main));
    const named = document.getElementById(location.hash.slice(1));
    if (named) {
      named.open = true;
      named.scrollIntoView();
    }
  } catch (error) {
    main.textContent = `openapi.json can't be shown: ${error}`;
  }
}

if (typeof document !== "undefined") start();
