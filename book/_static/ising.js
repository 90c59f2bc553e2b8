// A live lattice of spins under Gibbs sampling, in every `div.ising-demo`.
//
// Spins s_i = -1 or 1 on a square lattice whose edges are glued together:
//   E(s) = -(sum over neighbours of s_i s_j) - h (sum of s_i),
//   p(s) = exp(-beta E(s)) / Z.
// With the signs of dimod, J = -1 and the field is -h; in bits W = 4 and
// b = 2h - 8. For scripts, the element has `sweep(n)`, which returns what each
// of n sweeps left behind, and `exact()`.
(() => {
  "use strict";

  const SEED = 1;
  // Sweeps in a second of play. A small lattice is cheap and noisy.
  const RATES = { 4: 1000, 32: 100, 64: 100 };
  // Milliseconds between pictures. A spin that flips in each of 5 pictures a
  // second flashes 2.5 times; WCAG 2.3.1 allows 3.
  const PICTURE = 200;
  const CALM_PICTURE = 1000; // for readers who want less motion
  const DESCRIPTION = 2000; // between labels for screen readers
  const UP = [230, 159, 0, 255];
  const DOWN = [22, 54, 92, 255];
  const [WIDTH, HEIGHT] = [320, 170]; // of the plot
  const MAX_POINTS = 400; // in the plot

  // The generator sfc32 of C. Doty-Humphrey's PractRand, seeded as there.
  // Returns a function that draws uniform integers below 2^32.
  function sfc32(seed) {
    let [a, b, c, counter] = [0, seed, 0, 1];
    function draw() {
      const result = (a + b + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + result) | 0;
      return result >>> 0;
    }
    for (let i = 0; i < 12; i++) draw();
    return draw;
  }

  class Lattice {
    constructor(side, allUp) {
      this.side = side;
      this.random = sfc32(SEED);
      const spin = () => (allUp || this.random() >= 2 ** 31 ? 1 : -1);
      this.spins = Int8Array.from({ length: side ** 2 }, spin);
      this.total = this.spins.reduce((sum, s) => sum + s, 0);
      this.bonds = 0; // sum of s_i s_j; every site brings two of its four
      for (let i = 0; i < side ** 2; i++) {
        const [, right, , below] = this.neighbours(i);
        this.bonds += this.spins[i] * (this.spins[right] + this.spins[below]);
      }
    }

    neighbours(i) {
      const { side } = this;
      const x = i % side;
      const left = i - x + ((x + side - 1) % side);
      const right = i - x + ((x + 1) % side);
      const n = side * side;
      return [left, right, (i + n - side) % n, (i + side) % n];
    }

    // Draw each spin once, row by row, given its neighbours:
    // p(s_i = 1 | others) = 1 / (1 + exp(-2 beta (their sum + h))).
    sweep(beta, field) {
      const { spins } = this;
      const chance = (sum) => 1 / (1 + Math.exp(-2 * beta * (sum + field)));
      const below = [-4, -2, 0, 2, 4].map((sum) => 2 ** 32 * chance(sum));
      for (let i = 0; i < spins.length; i++) {
        const [j, k, l, m] = this.neighbours(i);
        const sum = spins[j] + spins[k] + spins[l] + spins[m];
        const s = this.random() < below[(sum + 4) / 2] ? 1 : -1;
        if (s === spins[i]) continue;
        spins[i] = s;
        this.total += 2 * s;
        this.bonds += 2 * s * sum;
      }
    }

    // Magnetisation per spin, its size, and energy per spin.
    observe(field) {
      const m = this.total / this.spins.length;
      const energy = -this.bonds / this.spins.length - field * m;
      return { m, size: Math.abs(m), energy };
    }
  }

  function ones(bits) {
    let count = 0;
    for (; bits; bits &= bits - 1) count++;
    return count;
  }

  // How many of the 65,536 states of 4 x 4 bits have `up` bits on and
  // `unlike` pairs of neighbours that differ: element 17 * unlike + up.
  function countStates() {
    const counts = new Float64Array(33 * 17);
    for (let state = 0; state < 65536; state++) {
      const sideways = ((state << 1) & 0xeeee) | ((state >> 3) & 0x1111);
      const down = ((state << 4) & 0xffff) | (state >> 12);
      const unlike = ones(state ^ sideways) + ones(state ^ down);
      counts[17 * unlike + ones(state)]++;
    }
    return counts;
  }

  let counts = null;
  // Exact means of what `Lattice.observe` sees on 4 x 4.
  function exactMeans(beta, field) {
    counts ??= countStates();
    const sums = { z: 0, m: 0, size: 0, energy: 0 };
    const least = -2 - Math.abs(field);
    counts.forEach((count, i) => {
      const m = ((i % 17) - 8) / 8;
      const energy = Math.floor(i / 17) / 8 - 2 - field * m;
      const weight = count * Math.exp(-16 * beta * (energy - least));
      sums.z += weight;
      sums.m += weight * m;
      sums.size += weight * Math.abs(m);
      sums.energy += weight * energy;
    });
    const { z, m, size, energy } = sums;
    return { m: m / z, size: size / z, energy: energy / z };
  }

  const slider = (name, title, range) => `<label>${title}
    <input data-part="${name}" type="range" ${range}></label>
    <span data-value="${name}"></span>`;
  const choice = (name, title, options) => `<label>${title}
    <select data-part="${name}"><option>${options.join("</option><option>")}
    </option></select></label>`;
  const button = (name, title) =>
    `<button type="button" data-part="${name}">${title}</button>`;
  const row = (name, title) => `<tr><th scope="row">${title}</th>
    <td data-now="${name}"></td><td data-mean="${name}"></td>
    <td data-exact="${name}"></td></tr>`;
  const CONTENT = `
    <div>
      <canvas data-part="picture" role="img"></canvas>
      <p><span class="ising-up"></span> up, s = 1
        <span class="ising-down"></span> down, s = -1</p>
    </div>
    <div>
      ${slider("beta", "Inverse temperature β", "max=1 step=.01 value=.44")}
      ${slider("field", "Field h", "min=-1 max=1 step=.05 value=0")}
      ${choice("side", "Lattice", ["4 x 4", "32 x 32", "64 x 64"])}
      ${choice("start", "Start", ["random", "all up"])}
      <p>${button("play", "Play")} ${button("one", "One sweep")}
        ${button("reset", "Reset")}</p>
      <p data-part="status" role="status"></p>
    </div>
    <div>
      <table><thead><tr><td></td><th scope="col">now</th>
        <th scope="col">mean</th><th scope="col">exact</th></tr></thead>
        <tbody>${row("m", "m")}${row("size", "|m|")}
        ${row("energy", "E per spin")}</tbody></table>
      <p>Mean of <span data-part="count"></span>. Exact: all 65,536 states of
        4 x 4, listed. A larger lattice has too many.</p>
    </div>
    <div>
      <canvas data-part="plot" role="img"></canvas>
      <p>|m| against sweeps. Thin: now. Thick: mean. Dashed: exact.</p>
    </div>`;

  // A mean of -0.00001 is shown as 0.0000.
  const digits = (x) => (Math.abs(x) < 5e-5 ? 0 : x).toFixed(4);
  const counted = (n) => `${n.toLocaleString("en")} sweep${n === 1 ? "" : "s"}`;

  function mount(host) {
    host.innerHTML = CONTENT;
    host.setAttribute("role", "group");
    host.setAttribute("aria-label", "Lattice of spins under Gibbs sampling");
    const part = {};
    for (const element of host.querySelectorAll("[data-part]")) {
      part[element.dataset.part] = element;
    }
    let lattice, sweeps, sums, truth, points, stride;
    let playing = false;
    let visible = false;
    let request = 0;
    let shown, described; // times of the last picture and the last labels

    const law = () => [Number(part.beta.value), Number(part.field.value)];
    const exact = () => (lattice.side === 4 ? exactMeans(...law()) : null);
    const now = () => lattice.observe(law()[1]);
    const mean = (name) => sums[name] / sweeps;

    // A new lattice, paused. The same choices give the same run.
    function restart() {
      setPlaying(false);
      const [side, start] = [part.side.value, part.start.value];
      lattice = new Lattice(parseInt(side), start === "all up");
      forget();
      say(`Paused. New lattice, ${side}, ${start}.`);
    }

    // Means belong to one law, so they start anew when it changes.
    function forget() {
      sweeps = 0;
      sums = { m: 0, size: 0, energy: 0 };
      truth = exact();
      points = [];
      stride = 1;
      draw();
      describe();
    }

    function sweep(n) {
      const [beta, field] = law();
      const seen = [];
      for (let i = 0; i < n; i++) {
        lattice.sweep(beta, field);
        sweeps++;
        seen.push(lattice.observe(field));
        for (const name in sums) sums[name] += seen[i][name];
        // A point every `stride` sweeps, which doubles when they are too many.
        if (sweeps % stride) continue;
        points.push([sweeps, seen[i].size, mean("size")]);
        if (points.length < MAX_POINTS) continue;
        stride *= 2;
        points = points.filter(([t]) => t % stride === 0);
      }
      draw();
      if (!playing) describe();
      return seen;
    }

    function setPlaying(value) {
      if (playing === value) return;
      playing = value;
      part.play.textContent = playing ? "Pause" : "Play";
      say(playing ? "Running." : `Paused. ${values()}`);
      describe();
      schedule();
    }

    // Frames are asked for only while there is something to see.
    function schedule() {
      cancelAnimationFrame(request);
      shown = described = undefined;
      if (playing && visible) request = requestAnimationFrame(frame);
    }

    function frame(time) {
      request = requestAnimationFrame(frame);
      shown ??= time;
      described ??= time;
      const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
      const pause = calm ? CALM_PICTURE : PICTURE;
      // After a stall the demo goes on; it does not catch up.
      const elapsed = Math.min(time - shown, 2 * pause);
      if (elapsed < pause) return;
      shown = time;
      sweep(Math.round((RATES[lattice.side] * elapsed) / 1000));
      if (time - described < DESCRIPTION) return;
      described = time;
      describe();
    }

    function values() {
      const size = sweeps ? `, mean |m| ${digits(mean("size"))}` : "";
      const known = truth ? `, exact ${digits(truth.size)}` : "";
      return `${counted(sweeps)}, m ${digits(now().m)}${size}${known}.`;
    }

    function say(text) {
      part.status.textContent = text;
    }

    // Labels of the pictures, for those who do not see them.
    function describe() {
      const { side, total, spins } = lattice;
      const up = (spins.length + total) / 2;
      part.picture.ariaLabel = `${side} x ${side} spins, ${up} of them up`;
      part.plot.ariaLabel = `Plot of |m|. ${values()}`;
    }

    function draw() {
      drawPicture();
      drawPlot();
      const current = now();
      for (const name in sums) {
        const cells = { now: current[name], mean: mean(name) };
        cells.exact = truth ? truth[name] : NaN;
        for (const [column, x] of Object.entries(cells)) {
          const cell = host.querySelector(`[data-${column}="${name}"]`);
          cell.textContent = Number.isFinite(x) ? digits(x) : "–";
        }
      }
      for (const cell of host.querySelectorAll("[data-value]")) {
        cell.textContent = Number(part[cell.dataset.value].value).toFixed(2);
      }
      part.count.textContent = counted(sweeps);
    }

    function drawPicture() {
      const { side, spins } = lattice;
      part.picture.width = part.picture.height = side;
      const context = part.picture.getContext("2d");
      const image = context.createImageData(side, side);
      spins.forEach((s, i) => image.data.set(s === 1 ? UP : DOWN, 4 * i));
      context.putImageData(image, 0, 0);
    }

    function drawPlot() {
      part.plot.width = 2 * WIDTH; // clears; two pixels a unit look sharp
      part.plot.height = 2 * HEIGHT;
      const context = part.plot.getContext("2d");
      context.scale(2, 2);
      const [left, right, top, bottom] = [24, WIDTH - 8, 10, HEIGHT - 24];
      const last = Math.max(sweeps, 10);
      function line(data, colour, width, dash = []) {
        context.strokeStyle = colour;
        context.lineWidth = width;
        context.setLineDash(dash);
        context.beginPath();
        for (const [t, y] of data) {
          const x = left + ((right - left) * t) / last;
          context.lineTo(x, bottom - (bottom - top) * y);
        }
        context.stroke();
      }
      line(points.map(([t, size]) => [t, size]), "#767676", 0.75);
      line(points.map(([t, , average]) => [t, average]), "#0072b2", 2.5);
      const level = truth?.size;
      if (truth) line([[0, level], [last, level]], "#000", 1.5, [6, 4]);
      line([[0, 1], [0, 0], [last, 0]], "#000", 1);
      context.font = "13px sans-serif";
      context.textAlign = "right";
      context.fillText("1", left - 5, top + 6);
      context.fillText("0", left - 5, bottom + 4);
      context.fillText(counted(last), right, HEIGHT - 7);
    }

    part.beta.addEventListener("input", forget);
    part.field.addEventListener("input", forget);
    part.side.addEventListener("change", restart);
    part.start.addEventListener("change", restart);
    part.reset.addEventListener("click", restart);
    part.play.addEventListener("click", () => setPlaying(!playing));
    part.one.addEventListener("click", () => {
      setPlaying(false);
      sweep(1);
      say(values());
    });
    new IntersectionObserver((entries) => {
      visible = entries.at(-1).isIntersecting;
      schedule();
    }).observe(host);
    restart();
    Object.assign(host, { sweep, exact });
  }

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("div.ising-demo").forEach(mount);
  });
})();
