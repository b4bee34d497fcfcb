// Lays a graph out in any state of folding, as fold, layout, geometry, paths and crossing of fxscope/render do
// (their constants come with the data). A test compares the two.

const OUTPUT = "output";
const pairwise = (list) => list.slice(1).map((item, i) => [list[i], item]);
const named = (branch, key) => `${branch} ${key}`;

// The boxes and edges of a state: {boxes, data, freezes}.
function pictureOf(d, folded, sizes) {
  const home = d.keys.slice(), taken = new Set();
  for (const [key, from, count] of d.groups) {
    if (!folded.has(key) || taken.has(from)) continue;
    for (let i = from; i < from + count; i++) { home[i] = key; taken.add(i); }
  }
  const there = new Set(home), boxes = new Map(), data = new Map(), freezes = new Map();
  for (const box of d.boxes) {
    if (!there.has(box.k)) continue;
    const lines = [box.d, sizes && sizesOf(d, box)].filter(Boolean);
    boxes.set(named(box.b, box.k), { ...box, lines });
  }
  for (const [branch, from, to] of d.data) {
    const [a, b] = [home[from], home[to]];
    if (a !== b) data.set(`${branch} ${a}\n${b}`, [branch, a, b]);
  }
  for (const [from, to, carried] of d.freezes) {
    const id = `${home[from]}\n${home[to]}`;
    if (!freezes.has(id)) freezes.set(id, { id, source: home[from], target: home[to], carried: {} });
    const counts = freezes.get(id).carried;
    for (const [label, n] of Object.entries(carried)) counts[label] = (counts[label] || 0) + n;
  }
  return { home, boxes, data: [...data.values()], freezes: [...freezes.values()] };
}

function spelled(count) {
  for (const [size, unit, letter] of [[1e9, 1e9, "G"], [1e6, 1e6, "M"], [1e4, 1e3, "k"]]) {
    if (count >= size) return `${+(count / unit).toPrecision(3)} ${letter}`;
  }
  return count.toLocaleString("en");
}

function sizesOf(d, box) {
  const weights = (box.w || []).reduce((sum, i) => sum + d.weights[i], 0);
  const said = [weights && `${spelled(weights)} parameters`, box.f && `${spelled(box.f)} multiply-adds`];
  return said.filter(Boolean).join(", ");
}

function generations(nodes, edges) {
  const after = new Map(nodes.map((n) => [n, new Set()])), waits = new Map(nodes.map((n) => [n, 0]));
  for (const [a, b] of edges) {
    if (!after.get(a).has(b)) { after.get(a).add(b); waits.set(b, waits.get(b) + 1); }
  }
  const layer = new Map();
  let ready = nodes.filter((n) => !waits.get(n));
  for (let depth = 0; ready.length; depth++) {
    const next = [];
    for (const key of ready) {
      layer.set(key, depth);
      for (const to of after.get(key)) {
        waits.set(to, waits.get(to) - 1);
        if (!waits.get(to)) next.push(to);
      }
    }
    ready = next;
  }
  return layer.size === nodes.length ? { after, layer } : null;
}

// One graph for both columns, and the layer of every key; null where the folded modules make a cycle.
function layering(p) {
  const nodes = [...new Set([...p.boxes.values()].sort((a, b) => (a.o || 0) - (b.o || 0)).map((b) => b.k))];
  const of = (interpreter) => p.data.filter(([b]) => (b === "interpreter") === interpreter).map(([, s, t]) => [s, t]);
  const forward = of(false), twins = of(true);
  p.backwards = p.data.some(([branch, source]) => branch === "interpreter" && source === OUTPUT);
  const tries = [[...forward, ...twins], [...forward, ...twins.map(([s, t]) => [t, s])], forward];
  for (const edges of tries.slice(p.backwards ? 1 : 0)) {
    const found = generations(nodes, edges);
    if (!found) continue;
    const others = [...found.layer].filter(([key]) => key !== OUTPUT).map(([, i]) => i);
    if (found.layer.has(OUTPUT)) found.layer.set(OUTPUT, 1 + Math.max(-1, ...others));
    return found;
  }
  return null;
}

// The x of every box and trunk, counted from the inner side of a column.
function columnsOf(d, after, layer, orderOf, width) {
  const { LANE, SPACE } = d.constants;
  const rows = Array.from({ length: 1 + Math.max(-1, ...layer.values()) }, () => []);
  for (const [key, row] of layer) rows[row].push(key);
  const points = [], outside = [], trunks = new Map();
  for (const [key, row] of layer) points.push({ key, i: 0, row });
  for (const [key, targets] of after) {
    const length = Math.max(0, ...[...targets].map((t) => layer.get(t))) - layer.get(key) - 1;
    if (length > 0) trunks.set(key, []);
    for (let i = 1; i <= length; i++) {
      const point = { key, i, row: layer.get(key) + i };
      trunks.get(key).push(point);
      (rows[point.row].length > 1 && rows[layer.get(key)].length > 1 ? points : outside).push(point);
    }
  }
  for (const point of points) point.order = orderOf(point);
  pack(points, rows.length, width, d.constants);
  const sides = new Map();
  const widen = (row, x) => sides.set(row, Math.max(sides.get(row) || 0, x));
  for (const p of points) widen(p.row, p.x + (p.i ? 0 : width / 2) + SPACE / 2);
  const spans = new Map();
  for (const p of outside) spans.set(p.key, [...(spans.get(p.key) || []), p]);
  for (const [, span] of [...spans].sort(([, a], [, b]) => a.length - b.length || a[0].row - b[0].row)) {
    const lane = Math.max(...span.map((p) => sides.get(p.row) || 0)) + LANE / 2;
    for (const p of span) { p.x = lane; sides.set(p.row, lane + LANE / 2); }
  }
  const right = Math.max(...[...points, ...outside].map((p) => p.x + (p.i ? LANE : width) / 2));
  const x = new Map(points.filter((p) => !p.i).map((p) => [p.key, p.x]));
  return { rows, x, width: right, trunks: new Map([...trunks].map(([k, list]) => [k, list.map((p) => p.x)])) };
}

// Runs of rows with several points keep the columns of their order, as near to each other as they can be.
function pack(points, count, width, { LANE, SPACE }) {
  const rows = Array.from({ length: count }, () => []);
  for (const point of [...points].sort((a, b) => a.order - b.order)) rows[point.row].push(point);
  const half = (p) => (p.i ? LANE : width) / 2;
  for (let start = 0; start < count;) {
    let end = start;
    while (end < count && (rows[end].length < 2) === (rows[start].length < 2)) end++;
    const run = rows.slice(start, end);
    start = end;
    if (run[0].length < 2) {
      for (const row of run) if (row.length) row[0].x = width / 2;
      continue;
    }
    const columns = new Map();
    for (const row of run) {
      row.forEach((point, i) => {
        const before = row[i - 1];
        if (before && point.order <= before.order) point.order = before.order + 0.01;
        columns.set(point.order, [...(columns.get(point.order) || []), [before, point]]);
      });
    }
    const at = new Map();
    let nearest = 0;
    const beside = ([before, point]) => !before ? half(point)
      : at.get(before.order) + half(before) + half(point) + (point.i && before.i ? LANE : SPACE);
    for (const column of [...columns.keys()].sort((a, b) => a - b)) {
      nearest = Math.max(nearest, ...columns.get(column).map(beside));
      at.set(column, nearest);
    }
    for (const row of run) for (const point of row) point.x = at.get(point.order);
  }
}

const heightOf = (box, c) => c.LINE * (1 + box.lines.length) + 9 + (box.s ? c.STACK : 0);

function boxWidth(p, layer, c) {
  const label = (box) => Math.max(
    c.BOLD * box.n.length + c.REGULAR * ((box.p || "").length + 2),
    ...(box.lines.length ? box.lines : [""]).map((line) => c.REGULAR * (line.length + 1)),
  ) + (box.s ? c.STACK : 0);
  const needed = Math.max(0, ...[...p.boxes.values()].map(label));
  const counts = new Map();
  for (const row of layer.values()) counts.set(row, (counts.get(row) || 0) + 1);
  const limit = Math.max(0, ...counts.values()) > 2 ? c.CROWDED : c.WIDEST;
  return Math.min(limit, Math.max(c.NARROWEST, needed + 2 * c.PADDING));
}

// Positions of a state in pixels; null where the folded modules make a cycle.
function geometryOf(d, folded, { shapes = true, sizes = false } = {}) {
  const c = d.constants, p = pictureOf(d, folded, sizes), found = layering(p);
  if (!found) return null;
  const width = boxWidth(p, found.layer, c);
  const drawn = folded.size === d.folded.length && d.folded.every((key) => folded.has(key));
  const given = new Map(drawn ? d.order.map(([key, i, x]) => [`${i} ${key}`, x]) : []);
  const hint = new Map(p.home.map((key, i) => [key, d.hints[i]]).reverse());
  const orderOf = (point) => given.get(`${point.i} ${point.key}`) ?? hint.get(point.key);
  const layout = columnsOf(d, found.after, found.layer, orderOf, width);
  const g = { d, p, layout, layer: found.layer, width: 0, height: 0, boxWidth: width, inner: {}, sign: {},
    rectangles: new Map(), tops: [], bottoms: [], channels: new Map(), levels: new Map(),
    space: shapes || !d.boxes.some((box) => box.z) ? d.space : d.space - d.shape };
  const [left, right] = d.branches, span = layout.width;
  if (right) {
    Object.assign(g, { inner: { [left]: c.MARGIN + span, [right]: c.MARGIN + span + c.GAP },
      sign: { [left]: -1, [right]: 1 }, width: 2 * c.MARGIN + 2 * span + c.GAP });
  } else Object.assign(g, { inner: { [left]: c.MARGIN }, sign: { [left]: 1 }, width: 2 * c.MARGIN + span });
  g.at = (branch, offset) => g.inner[branch] + g.sign[branch] * offset;
  for (const [name, box] of p.boxes) {
    g.rectangles.set(name, { x: g.at(box.b, layout.x.get(box.k)) - width / 2, y: 0, w: width, h: heightOf(box, c) });
  }
  stack(g, d.top + (right ? c.HEADING : 0));
  return g;
}

const beside = (g, branch, key) => g.layout.rows[g.layer.get(key)].filter((k) => g.rectangles.has(named(branch, k)));
const isInner = (g, b, key) => beside(g, b, key).every((k) => g.layout.x.get(k) >= g.layout.x.get(key));
const isOuter = (g, b, key) => beside(g, b, key).every((k) => g.layout.x.get(k) <= g.layout.x.get(key));
const turns = (g, b, key, trunk) => isOuter(g, b, key) && trunk > g.layout.x.get(key) + g.boxWidth / 2;
const isWide = (a, b) => Math.abs(a - b) > 36;
const trunkOf = (g, upper, lower) =>
  (g.layout.trunks.get(upper) || []).slice(0, g.layer.get(lower) - g.layer.get(upper) - 1);

// The upper and the lower end of every data edge.
const ends = (g) => g.p.data.map(([branch, source, target]) =>
  g.layer.get(source) <= g.layer.get(target) ? { branch, upper: source, lower: target, up: false }
    : { branch, upper: target, lower: source, up: true });

function steps(g, { branch, upper, lower }) {
  const trunk = trunkOf(g, upper, lower), xs = [g.layout.x.get(upper), ...trunk, g.layout.x.get(lower)];
  const found = pairwise(xs).map(([a, b], i) => [g.layer.get(upper) + i, a, b]);
  if (!trunk.length) return found;
  const first = turns(g, branch, upper, trunk[0]) ? 1 : 0, last = turns(g, branch, lower, trunk.at(-1)) ? 1 : 0;
  return found.slice(first, found.length - last);
}

function stack(g, top) {
  const c = g.d.constants, used = g.layout.rows.map(() => 0), along = new Map();
  for (const { id, source, target, carried } of g.p.freezes) {
    const rows = new Set([["original", source], ["interpreter", target]]
      .filter(([b, key]) => !isInner(g, b, key)).map(([, key]) => g.layer.get(key)));
    const level = Math.max(0, ...[...rows].map((row) => used[row]));
    for (const row of rows) {
      g.channels.set(`${row} ${id}`, level);
      used[row] = level + Object.keys(carried).length;
    }
  }
  for (const edge of ends(g)) {
    for (const [row, a, b] of steps(g, edge)) {
      if (isWide(a, b)) along.set(row, (along.get(row) || new Set()).add(edge.upper));
    }
  }
  for (const [row, keys] of along) {
    [...keys].sort((a, b) => g.layout.x.get(b) - g.layout.x.get(a)).forEach((k, i) => g.levels.set(`${row} ${k}`, i));
  }
  let y = top;
  g.layout.rows.forEach((keys, row) => {
    const boxes = keys.flatMap((k) => Object.keys(g.inner).map((b) => g.rectangles.get(named(b, k)))).filter(Boolean);
    const height = Math.max(...boxes.map((r) => r.h));
    for (const r of boxes) r.y = y + (height - r.h) / 2;
    g.tops.push(y);
    g.bottoms.push(y + height);
    const level = along.has(row) ? along.get(row).size - 1 : 0;
    y += height + g.space + c.CHANNEL * used[row] + c.LEVEL * level;
  });
  g.height = y - g.space + c.MARGIN;
}

const f = (number) => number.toFixed(1);

function stepBelow(g, upper, row, a, b) {
  const { TURN, ABOVE, LEVEL } = g.d.constants, below = g.tops[row + 1];
  if (Math.abs(a - b) < 0.5) return "";
  if (!isWide(a, b)) {
    const s = below - 20;
    return `V${f(s)}C${f(a)} ${f(s + 10)} ${f(b)} ${f(s + 8)} ${f(b)} ${f(below - 3)}`;
  }
  const level = below - ABOVE - LEVEL * g.levels.get(`${row} ${upper}`), side = b > a ? TURN : -TURN;
  return `V${f(level - TURN)}Q${f(a)} ${f(level)} ${f(a + side)} ${f(level)}H${f(b - side)}`
    + `Q${f(b)} ${f(level)} ${f(b)} ${f(level + TURN)}`;
}

function dataWays(g) {
  const edges = ends(g), deepest = new Map();
  for (const { branch, upper, lower } of edges) {
    const id = named(branch, upper);
    deepest.set(id, Math.max(deepest.get(id) ?? 0, g.layer.get(lower)));
  }
  return edges.map((edge) => {
    const { branch, upper, lower, up } = edge, [source, target] = up ? [lower, upper] : [upper, lower];
    const whole = g.layer.get(lower) === deepest.get(named(branch, upper));
    const joins = up && !whole && trunkOf(g, upper, lower).length > 0;
    return { source: named(branch, source), target: named(branch, target), up, joins, d: wayDown(g, edge, whole) };
  });
}

function wayDown(g, { branch, upper, lower }, whole) {
  const { TURN, TIP } = g.d.constants, out = g.sign[branch];
  const [u, l] = [upper, lower].map((key) => g.rectangles.get(named(branch, key)));
  const trunk = trunkOf(g, upper, lower), first = g.layer.get(upper) + 1, last = g.layer.get(lower) - 1;
  const intoTop = (start) => `${stepBelow(g, upper, last, start, l.x + l.w / 2)}V${f(l.y - TIP)}`;
  if (!trunk.length) return `M${f(u.x + u.w / 2)} ${f(u.y + u.h)}${intoTop(u.x + u.w / 2)}`;
  const ways = trunk.map((offset) => g.at(branch, offset)), end = ways.at(-1), middle = l.y + l.h / 2;
  const turned = turns(g, branch, lower, trunk.at(-1));
  const arrive = turned
    ? `V${f(middle - TURN)}Q${f(end)} ${f(middle)} ${f(end - out * TURN)} ${f(middle)}`
      + `H${f((out > 0 ? l.x + l.w : l.x) + out * TIP)}`
    : `V${f(g.bottoms[last])}${intoTop(end)}`;
  if (!whole) return `M${f(end)} ${f(turned ? middle - TURN : g.bottoms[last])}${arrive}`;
  const level = u.y + u.h / 2, to = ways[0];
  let path = turns(g, branch, upper, trunk[0])
    ? `M${f(out > 0 ? u.x + u.w : u.x)} ${f(level)}H${f(to - out * TURN)}Q${f(to)} ${f(level)} ${f(to)} ${f(level + TURN)}`
    : `M${f(u.x + u.w / 2)} ${f(u.y + u.h)}${stepBelow(g, upper, first - 1, u.x + u.w / 2, to)}`;
  pairwise(ways).forEach(([a, b], i) => { path += `V${f(g.bottoms[first + i])}${stepBelow(g, upper, first + i, a, b)}`; });
  return path + arrive;
}

function freezeEdges(g) {
  const { PITCH } = g.d.constants, into = new Map();
  const sorted = [...g.p.freezes].sort((a, b) => g.layer.get(a.source) - g.layer.get(b.source));
  for (const { id, source, target, carried } of sorted) {
    Object.entries(carried).sort(([a], [b]) => (a < b ? -1 : 1)).forEach(([label, count], number) => {
      into.set(target, [...(into.get(target) || []), { id, source, target, label, count, number }]);
    });
  }
  return [...into].flatMap(([target, arriving]) => {
    const room = g.rectangles.get(named("interpreter", target)).h - 4;
    const pitch = Math.min(PITCH, room / Math.max(1, arriving.length - 1));
    return arriving.map((edge, i) => ({ ...edge, shift: pitch * (i - (arriving.length - 1) / 2) }));
  });
}

function freezeWays(g) {
  const { TURN, TIP, GAP, CHANNEL, APART } = g.d.constants, taken = [];
  const lane = (low, high) => {
    let i = taken.findIndex((spans) => spans.every(([s, t]) => high < s || low > t));
    if (i < 0) i = taken.push([]) - 1;
    taken[i].push([low, high]);
    return i % 4;
  };
  const channel = (key, edge) =>
    g.bottoms[g.layer.get(key)] + 10 + CHANNEL * (g.channels.get(`${g.layer.get(key)} ${edge.id}`) + edge.number);
  return freezeEdges(g).map((edge) => {
    const s = g.rectangles.get(named("original", edge.source)), t = g.rectangles.get(named("interpreter", edge.target));
    const reached = isInner(g, "interpreter", edge.target), leaves = isInner(g, "original", edge.source);
    const end = reached ? t.y + t.h / 2 + edge.shift : channel(edge.target, edge);
    const tail = reached ? `H${f(t.x - TIP)}` : `H${f(t.x + 0.2 * t.w - 5 * edge.number)}V${f(t.y + t.h + TIP)}`;
    const straight = s.y + 2 <= end && end <= s.y + s.h - 2;
    const start = leaves ? (straight ? end : s.y + s.h / 2) : channel(edge.source, edge);
    const head = leaves ? `M${f(s.x + s.w)} ${f(start)}`
      : `M${f(s.x + 0.8 * s.w + 5 * edge.number)} ${f(s.y + s.h)}V${f(start)}`;
    const gap = g.inner.original, differs = Math.abs(start - end);
    const at = gap + 12 + APART * (differs > 1 ? lane(Math.min(start, end), Math.max(start, end)) : 0);
    const down = end > start ? 1 : -1, turn = Math.min(TURN, differs / 2);
    const step = differs < 0.5 ? "" : `H${f(at - turn)}Q${f(at)} ${f(start)} ${f(at)} ${f(start + down * turn)}`
      + `V${f(end - down * turn)}Q${f(at)} ${f(end)} ${f(at + turn)} ${f(end)}`;
    return { source: named("original", edge.source), target: named("interpreter", edge.target), label: edge.label,
      count: edge.count, d: `${head}${step}${tail}`, x: gap + GAP / 2, y: end };
  });
}

// The frames of expanded modules in each branch, with room for a tag at their top.
function frames(g, folded) {
  const found = [], inside = new Set();
  for (const [key, from, count, path] of g.d.groups) {
    if (folded.has(key)) for (let i = from; i < from + count; i++) inside.add(i);
    if (folded.has(key) || inside.has(from)) continue;
    const keys = new Set(g.p.home.slice(from, from + count));
    for (const branch of g.d.branches) {
      const boxes = [...keys].map((k) => g.rectangles.get(named(branch, k))).filter(Boolean);
      if (boxes.length < 2 && keys.size < 2) continue;
      if (!boxes.length) continue;
      const x = Math.min(...boxes.map((r) => r.x)) - 7, y = Math.min(...boxes.map((r) => r.y)) - 7;
      const w = Math.max(...boxes.map((r) => r.x + r.w)) + 7 - x, h = Math.max(...boxes.map((r) => r.y + r.h)) + 7 - y;
      const own = (name) => name.startsWith(`${branch} `) && keys.has(name.slice(branch.length + 1));
      const apart = [...g.rectangles].every(([name, r]) => own(name)
        || r.x > x + w || r.x + r.w < x || r.y > y + h || r.y + r.h < y);
      found.push({ key, path, branch, x, y, w, h, apart });
    }
  }
  return found;
}
