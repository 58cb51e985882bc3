// Shows the document of standard input with the page's own script, and prints the page's text.
const fs = require("fs");

class Node {
  constructor(name) { this.name = name; this.children = []; this.own = ""; }
  set textContent(text) { this.own = text; this.children = []; }
  get textContent() { return this.own + this.children.map((child) => child.textContent).join(" "); }
  append(...children) { this.children.push(...children); }
}

global.document = undefined;
const script = fs.readFileSync(process.argv[2], "utf8");
const { show } = new Function(`${script}; return { show };`)();
global.document = { createElement: (name) => new Node(name) };
const main = new Node("main");
show(JSON.parse(fs.readFileSync(0, "utf8")), main);
process.stdout.write(main.textContent);
