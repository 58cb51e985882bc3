"use strict";
// All text comes from the cluster and goes in as text, never as markup.
const SECONDS = 1;
const seen = new Map(); // what each card last showed
const answers = new Map(); // what was said to the last order

function make(name, given = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(given)) {
    if (key === "class") made.className = value;
    else if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

function since(moment) {
  return make("time", { dateTime: moment, class: "small" }, ago(moment));
}

function ago(moment) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(moment)) / 1000));
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["m", 60]]) {
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${seconds}s`;
}

const moods = { ready: "good", done: "good", waiting: "notice", starting: "notice", failed: "bad" };

function podLine(pod) {
  const state = make("span", { class: moods[pod.state] || "" }, pod.state);
  return make("li", {}, make("code", {}, pod.name), " ", state, " ", since(pod.created), pod.said ? ` ${pod.said}` : "");
}

function releasePart(release) {
  const role = { stable: "good", failed: "bad", candidate: "notice" }[release.role] || "small";
  const head = make("h3", {},
    `Revision ${release.revision}`,
    make("span", { class: role }, release.role),
    release.weight === null ? "" : make("span", {}, `${release.weight} %`),
    make("span", {}, `${release.ready}/${release.replicas} ready`),
    make("code", {}, release.image));
  const pods = make("ul", {}, ...release.pods.map(podLine));
  return make("section", { class: "release" }, head, release.place ? make("div", { class: "small" }, release.place) : "", pods);
}

function shareBar(releases) {
  const parts = releases.filter((release) => release.weight !== null);
  if (!parts.length) return "";
  const bar = make("div", { class: "share", role: "img" });
  bar.setAttribute("aria-label", parts.map((part) => `${part.role} ${part.weight} percent`).join(", "));
  for (const part of parts) {
    const piece = make("span", { class: part.role === "stable" ? "stable" : "candidate" });
    piece.style.flexGrow = part.weight;
    bar.append(piece);
  }
  return bar;
}

function metricLine(metric) {
  const counts = ["good", "bad", "unclear"].filter((kind) => metric[kind]).map((kind) => `${metric[kind]} ${kind}`);
  const mood = metric.bad ? "bad" : metric.good ? "good" : "notice";
  return make("li", {}, `${metric.name} `, make("span", { class: mood }, counts.join(", ") || "not measured yet"), metric.said ? ` ${metric.said}` : "");
}

function button(app, order, style) {
  const made = make("button", { type: "button", class: style, disabled: !app.allowed }, order.label);
  made.dataset.key = `${order.action} ${order.value}`;
  if (!app.allowed) made.title = `You may not change apps in namespace ${app.namespace}.`;
  made.addEventListener("click", () => give(app, order));
  return made;
}

function historyPart(app) {
  const rows = app.history.map((entry) => {
    const order = { action: "rollback", label: `Roll back to ${entry.revision}`, value: entry.rollback,
      question: `${app.name} goes back to what revision ${entry.revision} was: ${entry.image}.` };
    return make("tr", {},
      make("td", {}, `${entry.revision}`), make("td", {}, entry.outcome),
      make("td", {}, { yes: "fits", no: "does not fit", "?": "not known", gone: "not kept" }[entry.back]),
      make("td", {}, entry.started ? since(entry.started) : ""),
      make("td", {}, make("code", {}, entry.image), entry.message ? make("div", { class: "small" }, entry.message) : ""),
      make("td", {}, entry.rollback ? button(app, order, "") : ""));
  });
  const head = make("tr", {}, ...["Revision", "Outcome", "Schema", "Age", "Image", ""].map((name) => make("th", { scope: "col" }, name)));
  return make("details", {}, make("summary", {}, "History"), make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
}

function fill(card, app) {
  const key = `${app.namespace}/${app.name}`;
  const focused = card.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  const opened = card.querySelector("details")?.open;
  const answer = make("div", { class: "answer", role: "status" }, answers.get(key) || "");
  card.replaceChildren(
    make("h2", {}, app.name, make("span", { class: "place" }, app.namespace), make("span", { class: `phase ${app.mood}` }, app.phase)),
    make("p", { class: "message" }, app.message),
    shareBar(app.releases),
    ...app.releases.map(releasePart),
    app.analysis.length ? make("section", { class: "release" }, make("h3", {}, "Analysis"), make("ul", {}, ...app.analysis.map(metricLine))) : "",
    app.orders.length ? make("div", { class: "buttons" }, ...app.orders.map((order) => button(app, order, order.action === "promote" ? "main" : order.action))) : "",
    answer,
    make("p", { class: "small" }, app.schema, app.seen ? ", seen " : "", app.seen ? since(app.seen) : "", app.seen ? " ago" : "", app.operation ? `. ${app.operation}` : ""),
    app.history.length ? historyPart(app) : "");
  if (opened) card.querySelector("details").open = true;
  if (focused) card.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
}

function show(apps) {
  const main = document.getElementById("apps");
  const keys = new Set(apps.map((app) => `${app.namespace}/${app.name}`));
  for (const card of [...main.children]) {
    if (!keys.has(card.dataset.app)) { seen.delete(card.dataset.app); card.remove(); }
  }
  apps.forEach((app, place) => {
    const key = `${app.namespace}/${app.name}`;
    let card = [...main.children].find((each) => each.dataset.app === key);
    if (!card) { card = make("article"); card.dataset.app = key; }
    if (main.children[place] !== card) main.insertBefore(card, main.children[place] || null);
    const text = JSON.stringify(app) + (answers.get(key) || "");
    if (seen.get(key) !== text) { seen.set(key, text); fill(card, app); }
  });
}

function ask(question) {
  if (!question) return Promise.resolve(true);
  const dialog = document.getElementById("question");
  document.getElementById("question-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}

async function give(app, order) {
  if (!(await ask(order.question))) return;
  const key = `${app.namespace}/${app.name}`;
  answers.set(key, "…");
  try {
    const response = await fetch("orders", {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Inventory-Dashboard": "1" },
      body: JSON.stringify({ namespace: app.namespace, name: app.name, action: order.action, value: order.value }),
    });
    const said = response.headers.get("Content-Type").startsWith("application/json") ? (await response.json()).said : await response.text();
    answers.set(key, said);
  } catch (error) {
    answers.set(key, `The page's server does not answer: ${error.message}`);
  }
  await read();
}

async function read() {
  const state = document.getElementById("state");
  try {
    const response = await fetch("apps");
    const found = await response.json();
    if (!response.ok) throw new Error(found.error);
    show(found.apps);
    state.className = "";
    const count = found.apps.length;
    state.textContent = count ? `${count} app${count === 1 ? "" : "s"}, live` : "There is no InventoryApp here.";
  } catch (error) {
    state.className = "bad";
    state.textContent = `What is shown is old: ${error.message}`;
  }
}

async function live() {
  if (!document.hidden) await read();
  for (const time of document.querySelectorAll("time")) time.textContent = ago(time.dateTime);
  setTimeout(live, SECONDS * 1000);
}

live();
