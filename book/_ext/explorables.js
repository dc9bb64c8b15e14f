// Three pictures to touch: the largest takes all, race to memorise, what does my noise allow.
// A classic script without dependencies, since pages are opened from the disk. Each one fills the
// empty div that asks for it; without this script, on paper and in Colab that div stays empty.
(function () {
  "use strict";

  // --- the formulas -----------------------------------------------------------------------
  // The only copy outside the library; tests/test_explorables.py holds it against alfs_utils.
  // A loss l(u) has the pull g = -l' and the sign `bend` of l''. Its weighted risk has the
  // minimiser u_i = max(0, A + K B) with [A, B] = fill(w_i) and K such that they add up to 1.
  // GCE is AGCE with a = 0. AUL's exponent p goes by the name q, and constants that move no
  // minimum are left out of l.

  const AGCE = {
    l: (u, a, q) => -((a + u) ** q) / q,
    g: (u, a, q) => (a + u) ** (q - 1),
    bend: (q) => Math.sign(1 - q),
    fill: (w, a, q) => [-a, w ** (1 / (1 - q))],
  };
  const LOSSES = {
    CE: { l: (u) => -Math.log(u), g: (u) => 1 / u, bend: () => 1, fill: (w) => [0, w] },
    GCE: AGCE,
    MAE: { l: (u) => 1 - u, g: () => 1, bend: () => 0 },
    AGCE,
    AUL: {
      l: (u, a, q) => (a - u) ** q / q,
      g: (u, a, q) => (a - u) ** (q - 1),
      bend: (q) => Math.sign(q - 1),
      fill: (w, a, q) => [a, -(w ** (1 / (1 - q)))],
    },
    AEL: {
      l: (u, a) => Math.exp(-u / a),
      g: (u, a) => Math.exp(-u / a) / a,
      bend: () => 1,
      fill: (w, a) => [a * Math.log(w), 1],
    },
  };
  // As in alfs_utils.asymmetry.
  const TOLERANCE = 1e-12;
  const sum = (x) => x.reduce((s, y) => s + y, 0);
  const top = (x) => x.indexOf(Math.max(...x));
  const rivalOf = (w, t) => Math.max(...w.filter((_, i) => i !== t));

  function ratio(name, a, q) {
    const { g, bend } = LOSSES[name];
    return bend(q) > 0 ? g(1, a, q) / g(0, a, q) : 1;
  }

  function minimiser(name, w, a, q) {
    const { bend, fill } = LOSSES[name], t = top(w), u = w.map((_, i) => +(i === t));
    if (bend(q) <= 0) return u;
    const order = w.map((_, i) => i).filter((i) => w[i] > 0).sort((i, j) => w[j] - w[i]);
    const parts = order.map((i) => fill(w[i] / w[t], a, q));
    // The m largest weights share the mass.
    for (let m = order.length; m > 1; m--) {
      const some = parts.slice(0, m);
      const K = (1 - sum(some.map((x) => x[0]))) / sum(some.map((x) => x[1]));
      const shares = some.map(([A, B]) => A + K * B);
      if (shares[m - 1] >= 0) {
        shares.forEach((x, j) => { u[order[j]] = x; });
        return u;
      }
    }
    return u;
  }

  function certify(name, w, a, q) {
    const t = top(w), r = ratio(name, a, q), rival = rivalOf(w, t);
    const distance = w[t] * r - rival, edge = TOLERANCE * rival;
    const yes = distance > edge || rival === 0;
    return {
      c: w[t] / rival,
      verdict: yes ? "asymmetric" : distance >= -edge ? "boundary" : "not asymmetric",
    };
  }

  function risk(name, w, a, q, u) {
    return sum(w.map((x, i) => x * LOSSES[name].l(Math.max(u[i], 1e-6), a, q)));
  }

  // Gradient descent on logits, as the path that u takes; its speed is not that of training.
  function roll(name, w, a, q, start) {
    const path = [start], { g } = LOSSES[name];
    let u = start, F = risk(name, w, a, q, u), step = 0.01;
    while (path.length < 500 && step > 1e-5) {
      const pull = w.map((x, i) => x * g(Math.max(u[i], 1e-9), a, q));
      // How p moves on the simplex.
      const along = (p) => {
        const mean = sum(u.map((x, i) => x * p[i]));
        return u.map((x, i) => x * (p[i] - mean));
      };
      const v = along(along(pull)), speed = Math.hypot(...v);
      if (!(speed > 0)) break;
      const next = inside(u.map((x, i) => x + (step * v[i]) / speed));
      const lower = risk(name, w, a, q, next);
      if (lower < F) {
        path.push(next);
        [u, F, step] = [next, lower, Math.min(0.01, 1.5 * step)];
      } else step /= 2;
    }
    return path;
  }

  const inside = (u) => {
    const x = u.map((y) => Math.max(y, 0)), s = sum(x);
    return x.map((y) => y / s);
  };

  // Clopper and Pearson's lower end as odds p / (1 - p): where P(X >= hits) = tail. Below the
  // observed share the terms of that sum fall from the first one on.
  function lowerOdds(hits, misses, tail) {
    if (!hits) return 0;
    const n = hits + misses, few = Math.min(hits, misses);
    let choose = 0, low = -60, high = Math.min(60, Math.log(hits / misses));
    for (let j = 1; j <= few; j++) choose += Math.log((n - few + j) / j);
    for (let i = 0; i < 64; i++) {
      const middle = (low + high) / 2, odds = Math.exp(middle);
      let term = Math.exp(choose + hits * middle - n * Math.log1p(odds)), total = 0;
      for (let j = hits; term > 1e-18 * total; j++) {
        total += term;
        term *= ((n - j) / (j + 1)) * odds;
      }
      if (total < tail) low = middle;
      else high = middle;
    }
    return Math.exp(high);
  }

  // Clean level of a count matrix; each end alone holds with 95 %. Both fall as the rival's count
  // grows, so the strongest rival of each class is the only one that matters.
  function cleanLevel(counts) {
    const k = counts.length, tail = 0.05;
    const own = counts.map((row, i) => row[i]), rival = counts.map(rivalOf);
    const lows = own.map((x, i) => lowerOdds(x, rival[i], tail));
    const highs = rival.map((x, i) => 1 / lowerOdds(x, own[i], tail / (k * (k - 1))));
    return {
      low: Math.min(...lows), estimate: Math.min(...own.map((x, i) => x / rival[i])),
      high: Math.min(...highs), lows, highs,
    };
  }

  function threeDigits(x, base) {
    x *= 1 + 1e-9;
    const step = 10 ** (Math.floor(Math.log10(x)) - 2);
    return +(base + (Math.floor(x / step + 1e-6) + 1) * step).toPrecision(12);
  }

  // Of each family the least certified a, rounded up; none without noise, or with too much.
  function allowed(c) {
    if (!(c - 1 > TOLERANCE && c < Infinity)) return [];
    // Beyond 1e6, the least a of AGCE is too small for a float.
    const x = Math.log(Math.min(c, 1e6));
    return [
      `AGCELoss(a=${threeDigits(1 / Math.expm1(2 * x), 0)}, q=0.5)`,
      `AULLoss(a=${threeDigits(1 + 1 / Math.expm1(x) - 1, 1)}, p=2)`,
      `AELLoss(a=${threeDigits(1 / x, 0)})`,
    ];
  }

  window.ALF = { ratio, minimiser, certify, cleanLevel, allowed };
  const DATA = window.ALF_DATA;

  // --- what the pictures share --------------------------------------------------------------

  // An element; attributes that start with "on" are listeners, children may be strings.
  function h(tag, attributes, ...children) {
    const space = tag === "svg" ? "2000/svg" : "1999/xhtml";
    const node = document.createElementNS("http://www.w3.org/" + space, tag);
    for (const [name, value] of Object.entries(attributes || {}))
      if (name.startsWith("on")) node[name] = value;
      else node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  const drawing = (width, height, label) =>
    h("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  const text = (x, y, words, anchor = "middle", kind = "text") =>
    `<text class="alf-${kind}" x="${x}" y="${y}" text-anchor="${anchor}">${words}</text>`;
  const circle = (x, y, r, kind, more = "") =>
    `<circle class="alf-${kind}" cx="${x}" cy="${y}" r="${r}" ${more}/>`;
  const polyline = (points, kind, more = "") =>
    `<polyline class="alf-${kind}" points="${points}" ${more}/>`;
  const line = (x, y, x2, y2, kind = "axis") => polyline([x, y, x2, y2], kind);

  const button = (words, onclick) => h("button", { type: "button", onclick }, words);
  const note = (words) => h("p", { class: "alf-note" }, words);
  const task = (title, words) => h("p", { class: "alf-task" }, h("b", {}, title + " "), words);

  function select(label, names, onchange) {
    const box = h("select", { onchange }, ...names.map((x) => h("option", {}, x)));
    return { row: h("label", { class: "alf-field" }, label, box), box };
  }

  function slider(label, attributes, oninput) {
    const name = h("span", {}, label), out = h("span");
    const box = h("input", { type: "range", oninput, ...attributes });
    return { row: h("label", { class: "alf-slider" }, name, box, out), name, box, out };
  }

  // Draw at most once a frame, however many events arrive.
  function painter(draw) {
    let next;
    return () => {
      cancelAnimationFrame(next);
      next = requestAnimationFrame(draw);
    };
  }

  // A line for screen readers that speaks once the hand rests.
  function announcer(root) {
    const node = h("div", { class: "alf-hidden", "aria-live": "polite" });
    let timer;
    root.append(node);
    return (words) => {
      clearTimeout(timer);
      timer = setTimeout(() => (node.textContent = words), 400);
    };
  }

  const still = () => matchMedia("(prefers-reduced-motion: reduce)").matches;
  const clamp = (x, low, high) => Math.min(Math.max(x, low), high);
  const round = (x) => +x.toFixed(1);
  const show = (x) =>
    x === Infinity ? "∞" : x % 1 === 0 ? x : x >= 0 ? x.toPrecision(3) : "unknown";
  const level = (c) => `c\u00a0=\u00a0${show(c)}`;

  // Clean levels from 0.5 to 50 on a logarithmic axis: a mark, which points outwards if c lies
  // beyond; an interval; where the right label does not lead; the certified band.
  function numberLine(svg, c, need, low, high) {
    const X = (x) => round(12 + 148 * Math.log10(2 * clamp(x || 0, 0.5, 50))), x = X(c);
    const box = (kind, from, to, y, height) =>
      `<rect class="alf-${kind}" x="${from}" width="${to - from}" y="${y}" height="${height}"/>`;
    const shape = c < 0.5 ? "18l12 -7v14z" : c > 50 ? "18l-12 -7v14z" : "24l-7 -12h14z";
    svg.innerHTML = box("bad", 12, X(1), 26, 14) + box("safe", X(need), 308, 26, 14)
      + line(12, 33, 308, 33) + (low === undefined ? "" : box("interval", X(low), X(high), 29, 8))
      + (c >= 0 ? `<path class="alf-mark" d="M${x} ${shape}"/>` : "")
      + text(clamp(x, 30, 286), 9, level(c), "middle", "level")
      + text(12, 70, "c < 1: a wrong label leads", "start", "bad-text")
      + text(308, 70, need < 50 ? "certified" : "certified: none", "end", "safe-text")
      + [0.5, 1, 2, 5, 10, 20, 50].map((v) => text(X(v), 54, v)).join("");
  }

  // --- 1: the largest takes all -------------------------------------------------------------

  const W = 340, H = 312, CORNERS = [[170, 30], [30, 272], [310, 272]], STEPS = 512;
  const toXY = (u) => [0, 1].map((d) => round(sum(u.map((x, i) => x * CORNERS[i][d]))));
  const toU = (x, y) => {
    const first = (272 - y) / 242, third = (x - 30 - 140 * first) / 280;
    return [first, 1 - first - third, third];
  };
  const triple = (u) => `(${u.map((x) => x.toFixed(3)).join(", ")})`;

  // The risk in twelve shades of ink. Each pixel knows its u in steps of 1/STEPS.
  function shader() {
    const canvas = h("canvas", { width: W, height: H, "aria-hidden": "true" });
    const context = canvas.getContext("2d"), image = context.createImageData(W, H);
    const out = new Uint32Array(image.data.buffer), table = new Float32Array(STEPS + 1);
    const places = [], index = [];
    for (let y = 29; y < 274; y++)
      for (let x = 29; x < 312; x++) {
        const u = toU(x + 0.5, y + 0.5);
        if (Math.min(...u) < -0.02) continue;
        places.push(y * W + x);
        index.push(...u.map((z) => Math.round(STEPS * clamp(z, 0, 1))));
      }
    const F = new Float32Array(places.length);
    canvas.draw = (l, w, least) => {
      // Cross entropy is infinite on the edge: cut at 1e-3.
      for (let i = 0; i <= STEPS; i++) table[i] = l(Math.max(i / STEPS, 1e-3));
      let high = least + 1e-12;
      for (let i = 0, j = 0; i < F.length; i++, j += 3) {
        F[i] = w[0] * table[index[j]] + w[1] * table[index[j + 1]] + w[2] * table[index[j + 2]];
        if (F[i] > high) high = F[i];
      }
      for (let i = 0; i < F.length; i++) {
        const shade = 12 * Math.sqrt(Math.max(0, (F[i] - least) / (high - least)));
        out[places[i]] = (Math.min(11, shade | 0) * 18 * 2 ** 24) | 0x8c4610;
      }
      context.putImageData(image, 0, 0);
    };
    return canvas;
  }

  // The pull g(u) / g(1), its highest point, and c, which it must not reach. The axis grows with c.
  function pullPlot(svg, g, c, need) {
    const most = Math.max(4, 1.3 * Math.min(c, 100)), X = (u) => round(26 + 280 * u);
    const Y = (v) => round(126 - (106 * clamp(v, 0, most)) / most), y = Y(c), high = Y(need);
    const u = Array.from({ length: 99 }, (_, i) => (i / 98) ** 2), off = need > most;
    const top = need > 1 ? [26, "start", 34] : [306, "end", 306];
    svg.innerHTML = `<rect class="alf-bad" x="26" width="280" y="20" height="${y - 20}"/>`
      + [0, 1, 2, 3, 5, 10, 20, 50, 100].filter((v) => v < 2 || (v > most / 6 && v < most))
        .map((v) => line(26, Y(v), 306, Y(v)) + text(20, Y(v) + 4, v, "end")).join("")
      + line(26, y, 306, y, "c")
      + polyline(u.filter((x) => g(x) <= most * g(1)).map((x) => [X(x), Y(g(x) / g(1))]), "pull")
      + (off ? "" : circle(top[0], high, 5, "dot"))
      + text(top[2], high - 8, `1/r = ${show(need)}${off ? " ↑" : ""}`, top[1], "name")
      + text(166, y - 4, level(c), "middle", "name")
      + text(26, 143, "u = 0: rejected", "start") + text(306, 143, "u = 1: sure", "end");
  }

  function simplex(root) {
    const small = root.dataset.size === "small", paint = painter(draw), canvas = shader();
    let w, start, frame;
    const svg = drawing(W, H, "The risk of all predictions");
    const ring = h("div", {
      class: "alf-ring", role: "slider", tabindex: 0, "aria-valuemax": 1,
      "aria-label": "Noise: up and down for the right label, left and right between the others",
      onpointerdown: drag, onkeydown: keys,
    });
    const loss = select("loss", Object.keys(LOSSES), paint);
    const noise = select("noise", ["as dragged", ...Object.keys(DATA.rows)], () => {
      w = DATA.rows[noise.box.value] || w;
      paint();
    });
    const size = slider("a: the larger, the more even the pull",
      { min: -2, max: 1, step: 0.01 }, paint);
    const power = slider("q", { min: 0.1, max: 3, step: 0.05 }, paint);
    const say = h("p", { class: "alf-say" }), axis = drawing(320, 74, "Clean level");
    const pull = drawing(320, 146, "Pull");
    const ball = button("", () => release(start ? null : [0.1, 0.8, 0.1])), told = note("");
    const columns = [
      [h("div", { class: "alf-triangle" }, canvas, svg, ring),
        note("Triangle: predictions for three labels, surer towards a corner. Ring: how often each "
          + "label is told, the noise. Dot: the best prediction. Bright: low risk.")],
      [small ? "" : loss.row, size.row, small ? "" : power.row,
        note("Pull: how hard the loss moves a sample, in units of its pull at u = 1. u: the "
          + "network's probability of the label it is told."),
        pull],
      [say],
      [axis, note("c: the right label is told c times as often as its strongest rival. "
        + "1/r: the highest pull. A loss is certified, immune to this noise, if 1/r is below c: "
        + "the right label outpulls its rivals.")],
    ];
    if (!small) {
      columns.push(
        [noise.row, note("A preset has ten classes: you see the one with the lowest c, with its "
          + "two strongest rivals. The certificate is for all.")],
        [h("p", { class: "alf-buttons" }, ball, button("start over", reset),
          button("set a trap: AGCE(1, 2), c = 1.2", trap)), told]);
      svg.addEventListener("click", (event) => {
        const u = toU(...place(event));
        if (Math.min(...u) > -0.03) release(inside(u.map((x) => Math.max(x, 0.01))));
      });
    }
    root.append(
      task("The largest takes all.", "Bring the dot into the top corner: " + (small
        ? "move the a of AGCE, or drag the ring." : "with the loss, then with the noise alone.")),
      h("div", { class: "alf-columns" }, ...columns.map((x) => h("div", {}, ...x))));
    const speak = announcer(root);

    function place(event) {
      const box = svg.getBoundingClientRect(), scale = W / box.width;
      return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    }

    function drag(event) {
      const from = place(event), origin = toXY(w);
      ring.setPointerCapture(event.pointerId);
      ring.onpointermove = (e) => move(toU(...place(e).map((x, i) => origin[i] + x - from[i])));
      ring.onpointerup = ring.onpointercancel = () => (ring.onpointermove = null);
    }

    function keys(event) {
      const d = event.shiftKey ? 0.05 : 0.01;
      const change = {
        ArrowUp: [d, -d / 2, -d / 2], ArrowDown: [-d, d / 2, d / 2],
        ArrowLeft: [0, d, -d], ArrowRight: [0, -d, d],
      }[event.key];
      if (!change) return;
      event.preventDefault();
      move(w.map((x, i) => x + change[i]));
    }

    function move(u) {
      w = inside(u);
      noise.box.value = "as dragged";
      ring.classList.add("alf-moved");
      paint();
    }

    function settings(a, q, weights) {
      loss.box.value = "AGCE";
      size.box.value = a;
      power.box.value = q;
      move(weights);
    }

    function reset() {
      settings(-1, 0.5, [5, 3, 2]);
      ring.classList.remove("alf-moved");
      release(null);
    }

    // A certified loss whose risk has a second, local minimum (chapter 7).
    function trap() {
      settings(0, 2, [1.2, 1, 0.4]);
      release([0.1, 0.8, 0.1]);
    }

    // At once to the end where motion is not wanted.
    function release(u) {
      [start, frame] = [u, still() ? Infinity : 0];
      paint();
    }

    function draw() {
      const name = loss.box.value, { l, g } = LOSSES[name];
      power.box.max = name === "GCE" ? 1 : 3;
      const a = name === "GCE" ? 0 : 10 ** size.box.value + (name === "AUL"), q = +power.box.value;
      const u = minimiser(name, w, a, q), need = 1 / ratio(name, a, q);
      const rival = Math.max(w[1], w[2]), c = w[0] / rival;
      const ok = c > 1 && certify(name, w, a, q).verdict === "asymmetric";
      const corner = (i, words) => words + (w[i] === rival ? ": strongest rival" : "");
      canvas.draw((x) => l(x, a, q), w, risk(name, w, a, q, u.map((x) => Math.max(x, 1e-3))));
      const [x, y] = toXY(w);
      svg.innerHTML = polyline("170,30 30,272 310,272 170,30", "edge")
        + text(170, 18, "right label") + text(0, 300, corner(1, "label B"), "start")
        + text(340, 300, corner(2, "label C"), "end")
        + line(x, y, ...toXY(u), "gap") + circle(...toXY(u), 8, "dot") + rolled(name, a, q, u);
      ring.style.left = `${(100 * x) / W}%`;
      ring.style.top = `${(100 * y) / H}%`;
      size.row.hidden = name[0] !== "A";
      power.row.hidden = !/GCE|AUL/.test(name);
      power.name.textContent = (name === "AUL" ? "p" : "q") + ": at 1 the pull is even";
      size.out.textContent = a.toPrecision(3);
      power.out.textContent = q.toFixed(2);
      ball.textContent = start ? "take the ball away" : "drop a ball";
      numberLine(axis, c, need);
      pullPlot(pull, (z) => g(z, a, q), c, need);
      root.dataset.ok = ok;
      say.textContent = sentence(ok, c, need, u);
      ring.setAttribute("aria-valuenow", w[0].toFixed(3));
      ring.setAttribute("aria-valuetext", `weights ${triple(w)}, ${level(c)}`);
      speak(say.textContent + (start ? told.textContent : ""));
    }

    function sentence(ok, c, need, u) {
      const found = level(c);
      if (!(c > 1))
        return `✗ The right label does not lead: ${found}. No loss knows better than the labels.`;
      if (c === Infinity) return "✓ Certified: no label is wrong, every loss will do.";
      return (ok ? `✓ Certified: ${found} exceeds` : `✗ Not certified: ${found} does not exceed`)
        + ` 1/r\u00a0=\u00a0${show(need)}${need === Infinity ? ", so no finite c will do" : ""}. `
        + `The best prediction is ${ok ? "the right label" : triple(u)}`
        + (ok ? "." : ": wrong labels keep a share.");
    }

    // The ball as far as it has come; its path follows the noise and the loss.
    function rolled(name, a, q, u) {
      told.textContent = "Tap the triangle: a ball rolls downhill, by gradient descent.";
      if (!start) return "";
      const path = roll(name, w, a, q, start), last = path.length - 1, upto = Math.min(frame, last);
      frame = upto < last ? frame + 3 : Infinity;
      if (upto < last) paint();
      else
        told.textContent = Math.hypot(...path[last].map((x, i) => x - u[i])) > 0.05
          ? "The ball is caught elsewhere: the certificate is about the lowest point, not the way."
          : "The ball came to rest at the dot.";
      return polyline(path.slice(0, upto + 1).map(toXY).join(" "), "trail")
        + circle(...toXY(path[upto]), 4, "ball");
    }

    reset();
  }

  // --- 2: race to memorise ------------------------------------------------------------------

  const percent = (x) => x.toFixed(1);
  const at = (curve, epoch) => curve[Math.min(epoch, curve.length) - 1];

  function race(root) {
    const nameOf = (run) => `${run.noise}, rate ${run.eta}`;
    const width = clamp(root.parentNode.clientWidth - 34, 280, 760);
    const height = clamp(0.6 * width, 270, 360);
    const svg = drawing(width, height, "Accuracy against wrong labels repeated");
    let runs, only = null, t = 1, last = 0;
    const paint = painter(draw);
    const noise = select("noise", [...new Set(DATA.runs.map(nameOf))], choose);
    const epoch = slider("epoch", { min: 1, step: 1, value: 1 }, () => {
      stop();
      t = +epoch.box.value;
      paint();
    });
    const play = button("▶ play", toggle), table = h("table"), ids = note("");
    root.append(
      task("Race to memorise.",
        "Recorded runs on MNIST; only the loss differs. Which stays at the top left: accurate, "
          + "without learning wrong labels by heart?"),
      h("div", { class: "alf-fields" }, noise.row, play), epoch.row, svg,
      note("◆ best epoch: only clean labels tell. "
        + "□ what noisy labels choose, for each half of the test images."), table, ids);
    const speak = announcer(root);

    function choose() {
      runs = DATA.runs.filter((run) => nameOf(run) === noise.box.value);
      epoch.box.max = Math.max(...runs.map((run) => run.accuracy.length));
      only = null;
      t = +epoch.box.max;
      const heads = ["loss", "correct", "repeated", "best (epoch)", "chosen", "last"];
      table.replaceChildren(
        h("tr", {}, ...heads.map((x) => h("th", {}, x))), ...runs.map(entry));
      ids.textContent = "Accuracies in %, one seed each. Records: "
        + runs.map((run) => run.method + " " + run.id).join(", ") + ".";
      stop();
      paint();
    }

    // A row of the table; its button shows this run alone.
    function entry(run) {
      run.pick = button(run.method, () => {
        only = only === run ? null : run;
        paint();
      });
      run.pick.style.borderLeft = "8px solid " + DATA.colours[run.method];
      run.now = [h("td"), h("td")];
      const scores = [run.best, run.chosen].map(([epochs, score]) =>
        `${percent(score)} (${[...new Set(epochs)].join(", ")})`);
      return h("tr", {}, h("td", {}, run.pick), ...run.now,
        ...[...scores, percent(run.last)].map((x) => h("td", {}, x)));
    }

    function toggle() {
      if (last) return stop();
      if (t >= epoch.box.max) t = 1;
      if (still()) t = +epoch.box.max;
      else {
        last = performance.now();
        play.textContent = "❚❚ pause";
      }
      paint();
    }

    function stop() {
      last = 0;
      play.textContent = "▶ play";
    }

    function draw() {
      // Seven epochs a second.
      if (last) {
        const now = performance.now();
        t = Math.min(t + (now - last) * 0.007, epoch.box.max);
        last = now;
        if (t < epoch.box.max) paint();
        else stop();
      }
      const e = Math.floor(t + 1e-9);
      epoch.box.value = e;
      epoch.out.textContent = e;
      const right = Math.max(...runs.flatMap((run) => run.repeated));
      const floor = Math.floor(Math.min(...runs.flatMap((run) => run.accuracy)) / 100) * 100;
      const X = (v) => round(40 + ((width - 120) * v) / right);
      const Y = (v) => round(height - 42 - ((height - 66) * (v - floor)) / (1000 - floor));
      const labels = [], order = [...runs].sort((x, y) => at(y.accuracy, e) - at(x.accuracy, e));
      const tracks = order.map((run) => track(run, e, X, Y, labels));
      svg.innerHTML = ticks(floor, 1000).map((v) =>
        line(40, Y(v), width - 20, Y(v)) + text(34, Y(v) + 4, v / 10, "end")).join("")
        + ticks(0, right).map((v) => text(X(v), height - 24, v / 10)).join("")
        + text(40, 12, "accuracy on clean test labels, %", "start")
        + text(width - 20, height - 6, "wrong training labels repeated, % →", "end")
        + tracks.map((x) => x[0]).join("") + tracks.map((x) => x[1]).join("");
      speak(`Epoch ${e}: ` + runs.map(({ method, now: [hit, wrong] }) =>
        `${method} ${hit.textContent} % correct, ${wrong.textContent} % repeated`).join("; "));
    }

    function ticks(from, to) {
      const d = [10, 20, 50, 100].find((x) => (to - from) / x <= 6) || 200;
      return Array.from({ length: (to - from) / d + 1 }, (_, i) => from + i * d);
    }

    // A run up to now: its tail with the marks it has passed; its dot and name, which lie above.
    function track(run, e, X, Y, labels) {
      const between = (curve) => at(curve, e) + (t - e) * (at(curve, e + 1) - at(curve, e));
      const spot = (when) => [X(at(run.repeated, when)), Y(at(run.accuracy, when))];
      const x = X(between(run.repeated)), y = Y(between(run.accuracy));
      const tail = [...Array.from({ length: e }, (_, i) => spot(i + 1)), [x, y]];
      run.now[0].textContent = percent(at(run.accuracy, e) / 10);
      run.now[1].textContent = percent(at(run.repeated, e) / 10);
      run.pick.setAttribute("aria-pressed", only === run);
      const hue = DATA.colours[run.method], dim = only && only !== run;
      const marks = (epochs, shape, fill) => epochs.filter((when) => when <= e).map((when) =>
        `<path fill="${fill}" stroke="${hue}" d="M${spot(when)}${shape}"/>`).join("");
      let name = y + 4;
      while (labels.some(([a, b]) => Math.abs(a - x) < 64 && Math.abs(b - name) < 13)) name += 4;
      if (!dim) labels.push([x, name]);
      return [
        `<g opacity="${dim ? 0.15 : 1}">` + polyline(tail.join(" "), "tail", `stroke="${hue}"`)
          + marks(run.chosen[0], "m-5 -5h10v10h-10z", "none")
          + marks(run.best[0], "m0 -6l6 6l-6 6l-6 -6z", hue) + "</g>",
        dim ? "" : polyline([x, y, x + 10, name - 4], "lead", `stroke="${hue}"`)
          + circle(x, y, 6, "racer", `fill="${hue}"`)
          + text(x + 12, name, run.method, "start", "name"),
      ];
    }

    choose();
  }

  // --- 3: what does my noise allow? ---------------------------------------------------------

  // Counts, a row for each true class: numbers apart by blanks, commas or tabs; names may stand
  // before the rows and above the columns.
  function parse(words) {
    const rows = words.replace(/[[<>&]/g, " ").split(/[\n\]]/)
      .map((x) => x.split(/[\s,;]+/).filter(Boolean)).filter((x) => x.length);
    const isName = (x) => !/^[-+.\d]/.test(x);
    const header = rows.length && rows[0].every(isName) ? rows.shift() : [];
    const own = rows.map((row) => (isName(row[0]) ? row.shift() : "")), k = rows.length;
    if (k < 2) throw Error("Expected a table of counts, a row for each true class.");
    rows.forEach((row, i) => {
      if (row.length !== k)
        throw Error(`Row ${i + 1} has ${row.length} numbers; expected ${k}, one for each row.`);
      for (const x of row)
        if (!/^\d{1,6}$/.test(x)) throw Error(`Row ${i + 1} has “${x}”; expected a count.`);
    });
    return {
      names: own.map((name, i) => name || header.at(i - k) || String(i)),
      rows: rows.map((row) => row.map(Number)),
    };
  }

  // Rate eta leaves class i for the destinations that the kind of noise names.
  function model(kind, k, eta) {
    const goes = DATA.destinations[kind], classes = [...Array(goes ? goes.length : k).keys()];
    const share = (i, j) =>
      goes ? goes[i] === j : kind === "symmetric" ? (i !== j) / (k - 1) : (i + 1) % k === j;
    const row = (i) => classes.map((j) => (i === j) * (1 - eta) + eta * share(i, j));
    return { names: classes.map(String), rows: classes.map(row) };
  }

  function allow(root) {
    const paint = painter(draw), tables = Object.keys(DATA.tables);
    const kinds = ["symmetric", "pair flip", ...Object.keys(DATA.destinations)];
    const source = select("start from", [...tables, ...kinds], fill);
    const area = h("textarea", {
      rows: 7, wrap: "off", oninput: paint,
      "aria-label": "Counts: a row for each true class, a column for each label given",
    });
    const classes = h("input", { type: "number", min: 2, max: 100, value: 10, oninput: paint });
    const many = h("label", { class: "alf-field" }, "classes", classes);
    const eta = slider("rate η", { min: 0, max: 1, step: 0.01, value: 0.4 }, paint);
    const map = drawing(320, 320, "Table"), axis = drawing(320, 74, "Clean level");
    const say = h("p", { class: "alf-say" }), list = h("ul", { class: "alf-losses" });
    root.append(
      task("What does my noise allow?",
        "Paste how often each class got each label, or choose a noise model."),
      h("div", { class: "alf-columns" },
        h("div", {}, source.row, area, many, eta.row, map,
          note("Row: true class. Column: label given, same order. Ringed: the strongest rival.")),
        h("div", {}, say, axis, list,
          note("c: in each class, the right label is told at least c times as often as its "
            + "strongest rival. A loss is certified if it pulls on no label c times as hard as on "
            + "one that it is sure of."))));
    const speak = announcer(root);

    function fill() {
      const { names, counts } = DATA.tables[source.box.value] || {};
      if (names)
        area.value = [["", ...names], ...counts.map((row, i) => [names[i], ...row])]
          .map((row) => row.join("\t")).join("\n");
      draw();
    }

    function draw() {
      const kind = source.box.value, counted = tables.includes(kind);
      area.hidden = !counted;
      eta.row.hidden = counted;
      many.hidden = counted || kind in DATA.destinations;
      eta.out.textContent = eta.box.value;
      let table = null;
      root.dataset.ok = false;
      try {
        const k = clamp(Math.round(+classes.value), 2, 100);
        table = counted ? parse(area.value) : model(kind, k, +eta.box.value);
      } catch (error) {
        say.textContent = `✗ ${error.message}`;
      }
      map.style.display = axis.style.display = table ? "" : "none";
      list.replaceChildren();
      if (table) answer(table, counted);
      speak(say.textContent);
    }

    function answer(table, counted) {
      const levels = table.rows.map((row, i) => row[i] / rivalOf(row, i)), c = Math.min(...levels);
      const found = counted ? cleanLevel(table.rows)
        : { low: c, estimate: c, high: c, lows: levels, highs: levels };
      const losses = allowed(found.low);
      root.dataset.ok = found.low - 1 > TOLERANCE;
      say.textContent = sentence(table, found, counted);
      list.append(...losses.map(offer));
      numberLine(axis, found.estimate, losses.length ? found.low : Infinity,
        ...(counted ? [found.low, found.high] : []));
      heat(table);
    }

    function sentence({ names, rows }, { low, estimate, high, lows, highs }, counted) {
      const found = level(estimate)
        + (counted ? `, at least ${show(low)}, at most ${show(high)} (95 % each). ` : ". ");
      if (low === Infinity) return "✓ No noise: every loss will do.";
      if (low - 1 > TOLERANCE)
        return `✓ ${found}Certified${counted ? " at its lower end" : ""}, as is every larger a:`;
      const doubtful = names.filter((_, i) => !(lows[i] - 1 > TOLERANCE));
      if (high > 1)
        return `✗ Refused. ${found}The right label is not shown to lead in class `
          + `${doubtful.join(", ")}. Check more labels, drawn at random.`;
      const i = top(highs.map((x) => -x)), rival = rivalOf(rows[i], i);
      const j = rows[i].findIndex((x, n) => n !== i && x === rival);
      return `✗ Refused. ${found}Class ${names[i]}: ${show(rival)} are labelled ${names[j]}, `
        + `${show(rows[i][i])} are right. A certified loss would learn the wrong label. `
        + "Correct or merge such classes first.";
    }

    function offer(words) {
      const code = h("code", {}, words);
      const copy = button("copy", () => {
        getSelection().selectAllChildren(code);
        document.execCommand("copy");
        speak((copy.textContent = "copied"));
      });
      return h("li", {}, code, copy);
    }

    function heat({ names, rows }) {
      const k = rows.length, edge = k > 20 ? 0 : 72, cell = (320 - edge) / k;
      const square = (x, j, i, kind, shade) => x / shade < 0.005 ? ""
        : `<rect class="alf-${kind}" x="${edge + j * cell + 1}" y="${i * cell + 1}" `
          + `width="${0.9 * cell}" height="${0.9 * cell}" fill-opacity="${Math.sqrt(x / shade)}"/>`;
      map.setAttribute("viewBox", `0 0 320 ${cell * k}`);
      map.innerHTML = rows.map((row, i) => {
        const size = sum(row) || 1, rival = rivalOf(row, i);
        return (edge ? text(edge - 6, (i + 0.5) * cell + 4, names[i].slice(0, 10), "end") : "")
          + row.map((x, j) =>
            square(x, j, i, j !== i && x === rival ? "rival" : "cell", size)).join("");
      }).join("");
    }

    fill();
  }

  // --- start --------------------------------------------------------------------------------

  const KINDS = { simplex, race, allow };
  for (const root of document.querySelectorAll(".alf-explorable")) KINDS[root.dataset.kind](root);
})();
