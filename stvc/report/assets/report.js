(() => {
  "use strict";
  const page = JSON.parse(document.getElementById("payload").textContent);
  const { dates, layers, curve } = page;
  const count = dates.length;
  const [height, width] = page.shape;
  const MOSTLY_CLEAR = 0.5;
  const element = (id) => document.getElementById(id);
  const canvas = element("map");
  const context = canvas.getContext("2d", { willReadFrequently: false });
  const slider = element("slider");
  const readout = element("readout");
  const hatch = element("hatch");
  const outline = element("outline");
  const clearOnly = element("clear-only");
  const playButton = element("play");
  const still = matchMedia("(prefers-reduced-motion: reduce)");

  let at = page.start;
  let layer = layers[0];
  let timer = null;
  let drawing = 0;
  let pixel = null; // { x, y, series } of the pixel whose curve is shown

  // ------------------------------------------------------------------ images

  const decoded = new Map();

  /** Load one base64 WebP and keep its pixels: a promise of ImageData. */
  function load(key, text) {
    if (!decoded.has(key)) {
      decoded.set(key, new Promise((resolve, reject) => {
        const image = new Image();
        image.onload = () => {
          const room = document.createElement("canvas");
          room.width = image.naturalWidth;
          room.height = image.naturalHeight;
          const painter = room.getContext("2d", { willReadFrequently: true });
          painter.drawImage(image, 0, 0);
          resolve(painter.getImageData(0, 0, room.width, room.height));
        };
        image.onerror = () => reject(new Error("an image of this page is damaged"));
        image.src = "data:image/webp;base64," + text;
      }));
    }
    return decoded.get(key);
  }

  const imageOf = (one, date) => load(one.id + ":" + date, one.images[date]);
  const veilOf = (date) => (page.veils ? load("veil:" + date, page.veils[date]) : null);

  const tables = new Map();
  function colorsOf(one) {
    if (!tables.has(one.id)) {
      tables.set(one.id, Uint8Array.from(atob(one.colors), (c) => c.charCodeAt(0)));
    }
    return tables.get(one.id);
  }

  /** A small canvas with the layer's colors; unknown values are see-through. */
  function painted(one, pixels) {
    const room = document.createElement("canvas");
    room.width = pixels.width;
    room.height = pixels.height;
    const painter = room.getContext("2d");
    if (one.kind === "picture") {
      painter.putImageData(pixels, 0, 0);
      return room;
    }
    const colors = colorsOf(one);
    const out = painter.createImageData(pixels.width, pixels.height);
    const opaque = one.kind === "classes" ? 0 : one.first;
    for (let k = 0; k < out.data.length; k += 4) {
      const byte = pixels.data[k];
      out.data[k] = colors[3 * byte];
      out.data[k + 1] = colors[3 * byte + 1];
      out.data[k + 2] = colors[3 * byte + 2];
      out.data[k + 3] = byte >= opaque ? 255 : 0;
    }
    painter.putImageData(out, 0, 0);
    return room;
  }

  /** A canvas of the map's size with stripes where the veil is white. */
  function hatched(veil) {
    const small = document.createElement("canvas");
    small.width = veil.width;
    small.height = veil.height;
    const cut = new ImageData(new Uint8ClampedArray(veil.data), veil.width, veil.height);
    for (let k = 0; k < cut.data.length; k += 4) cut.data[k + 3] = veil.data[k];
    small.getContext("2d").putImageData(cut, 0, 0);
    const room = document.createElement("canvas");
    room.width = canvas.width;
    room.height = canvas.height;
    const painter = room.getContext("2d");
    painter.imageSmoothingEnabled = false;
    painter.drawImage(small, 0, 0, room.width, room.height);
    painter.globalCompositeOperation = "source-in";
    painter.fillStyle = painter.createPattern(stripes(), "repeat");
    painter.fillRect(0, 0, room.width, room.height);
    return room;
  }

  let pattern = null;
  function stripes() {
    if (!pattern) {
      const pitch = 14;
      pattern = document.createElement("canvas");
      pattern.width = pattern.height = pitch;
      const painter = pattern.getContext("2d");
      for (const [color, shift] of [["rgba(0,0,0,.5)", 2], ["rgba(255,255,255,.9)", 0]]) {
        painter.strokeStyle = color;
        painter.lineWidth = 2.2;
        for (const start of [-pitch, 0, pitch]) {
          painter.beginPath();
          painter.moveTo(start - 2 + shift, pitch + 2);
          painter.lineTo(start + pitch + 2 + shift, -2);
          painter.stroke();
        }
      }
    }
    return pattern;
  }

  // ------------------------------------------------------------------ map

  const scale = Math.max(1, Math.floor(1100 / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;

  async function draw() {
    const ticket = ++drawing;
    const [date, one] = [at, layer];
    let pixels, veil;
    try {
      [pixels, veil] = await Promise.all([imageOf(one, date), hatch.checked ? veilOf(date) : null]);
    } catch (problem) {
      if (ticket === drawing) element("layer-help").textContent = problem.message;
      return;
    }
    if (ticket !== drawing) return; // a later date or layer was asked for meanwhile
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.imageSmoothingEnabled = false;
    const step = one.step * scale;
    context.drawImage(painted(one, pixels), 0, 0, pixels.width * step, pixels.height * step);
    const own = one.kind === "classes" || one.id === "mask" || one.id === "error";
    if (veil && !own) context.drawImage(hatched(veil), 0, 0);
    if (outline.checked) drawOutline();
    if (pixel) drawPixel();
    canvas.dataset.shown = one.id + ":" + date;
    canvas.setAttribute("aria-label", `${one.name}, ${dates[date].time}, ${state(date)}`);
    for (const near of [date + 1, date - 1]) {
      if (near >= 0 && near < count) imageOf(one, near).catch(() => {});
    }
  }

  function drawOutline() {
    const [w, h] = page.extent;
    for (const [color, thick] of [["rgba(0,0,0,.65)", 4.5], ["#ffffff", 2]]) {
      context.strokeStyle = color;
      context.lineWidth = thick;
      context.lineJoin = "round";
      for (const ring of page.outline) {
        context.beginPath();
        ring.forEach(([x, y], k) => {
          const go = k ? "lineTo" : "moveTo";
          context[go](x * w * scale, y * h * scale);
        });
        context.stroke();
      }
    }
  }

  function drawPixel() {
    const pad = Math.max(0, 4 - scale / 2);
    const box = [pixel.x * scale - pad, pixel.y * scale - pad, scale + 2 * pad, scale + 2 * pad];
    context.lineWidth = 5;
    context.strokeStyle = "#000000";
    context.strokeRect(...box);
    context.lineWidth = 2.5;
    context.strokeStyle = "#7fb0ff";
    context.strokeRect(...box);
  }

  function place(event) {
    // object-fit: contain leaves bars beside the picture where the box has another shape
    const box = canvas.getBoundingClientRect();
    const fit = Math.min(box.width / canvas.width, box.height / canvas.height);
    const left = box.left + (box.width - canvas.width * fit) / 2;
    const top = box.top + (box.height - canvas.height * fit) / 2;
    const x = Math.floor((event.clientX - left) / fit / scale);
    const y = Math.floor((event.clientY - top) / fit / scale);
    return x >= 0 && y >= 0 && x < width && y < height ? { x, y } : null;
  }

  const byteAt = (pixels, x, y) => pixels.data[4 * (y * pixels.width + x)];
  const valueOf = (one, byte) =>
    byte < one.first ? null : one.low + ((byte - one.first) / (255 - one.first)) * (one.high - one.low);

  async function read(event) {
    const spot = place(event);
    if (!spot) {
      readout.hidden = true;
      return;
    }
    const [one, date] = [layer, at];
    const pixels = await imageOf(one, date);
    const veil = await veilOf(date);
    if (one !== layer || date !== at) return;
    const [x, y] = [Math.floor(spot.x / one.step), Math.floor(spot.y / one.step)];
    const byte = byteAt(pixels, Math.min(x, pixels.width - 1), Math.min(y, pixels.height - 1));
    const words = [];
    if (one.kind === "values") {
      const value = valueOf(one, byte);
      words.push(value === null ? "no value" : `${value.toFixed(one.digits)} ${one.unit}`.trim());
    } else if (one.kind === "classes") {
      words.push(one.names[byte] || `class ${byte}`);
    }
    if (veil && one.id !== "mask") words.push(byteAt(veil, spot.x, spot.y) ? "hidden" : "clear");
    words.push(`row ${spot.y * page.pixel + 1}, column ${spot.x * page.pixel + 1}`);
    readout.textContent = words.join(" · ");
    readout.hidden = false;
    const stage = canvas.parentElement.getBoundingClientRect();
    const wide = readout.offsetWidth;
    const x0 = Math.min(Math.max(event.clientX - stage.left - wide / 2, 4), stage.width - wide - 4);
    const above = event.clientY - stage.top - 38;
    readout.style.transform = `translate(${x0}px, ${above < 4 ? above + 66 : above}px)`;
  }

  async function pick(event) {
    const spot = place(event);
    const index = layers.find((one) => one.id === "ndvi");
    if (!spot || !index) return;
    if (pixel && pixel.x === spot.x && pixel.y === spot.y) {
      release();
      return;
    }
    const mine = { ...spot, series: null };
    pixel = mine;
    draw();
    const every = dates.map((_, k) => Promise.all([imageOf(index, k), veilOf(k)]));
    const series = (await Promise.all(every)).map(([pixels, veil]) =>
      veil && byteAt(veil, spot.x, spot.y) ? null : valueOf(index, byteAt(pixels, spot.x, spot.y)));
    if (pixel !== mine) return;
    mine.series = series;
    document.querySelector(".key-pixel").hidden = false;
    drawCharts();
  }

  function release() {
    pixel = null;
    document.querySelector(".key-pixel").hidden = true;
    draw();
    drawCharts();
  }

  // ------------------------------------------------------------------ date and layer

  const percent = (share) => `${Math.round(100 * share)} % clear`;
  function bytesText(n) {
    if (n < 1000) return `${n} B`;
    return n < 1e6 ? `${(n / 1000).toPrecision(3)} kB` : `${(n / 1e6).toPrecision(3)} MB`;
  }
  const state = (k) => percent(dates[k].clear);

  function choose(k) {
    at = Math.min(Math.max(k, 0), count - 1);
    slider.value = String(at);
    const value = curve.mean[at];
    const words = [state(at), bytesText(dates[at].bytes)];
    if (value !== null) words.push(`${curve.name} ${value.toFixed(3)}`);
    const said = words.join(", ");
    slider.setAttribute("aria-valuetext", `${dates[at].time}, ${said}`);
    element("date").textContent = dates[at].time;
    element("state").textContent = said;
    for (const chart of charts) {
      chart.svg.setAttribute("aria-valuenow", String(at));
      chart.svg.setAttribute("aria-valuetext", `${dates[at].time}, ${said}`);
      chart.mark();
    }
    for (const row of document.querySelectorAll("#dates tr.chosen")) row.classList.remove("chosen");
    const link = document.querySelector(`#dates [data-date="${at}"]`);
    if (link) link.closest("tr").classList.add("chosen");
    draw();
  }

  function step(by) {
    let k = at + by;
    if (clearOnly.checked) {
      while (k >= 0 && k < count && dates[k].clear < MOSTLY_CLEAR) k += Math.sign(by);
    }
    if (k >= 0 && k < count) choose(k);
    return k >= 0 && k < count;
  }

  function play(on) {
    clearInterval(timer);
    timer = null;
    playButton.setAttribute("aria-pressed", String(on));
    playButton.setAttribute("aria-label", on ? "Pause" : "Play");
    if (!on) return;
    if (at === count - 1) choose(0);
    timer = setInterval(() => { if (!step(1)) play(false); }, still.matches ? 1500 : 450);
  }

  function switchTo(one) {
    layer = one;
    const input = document.querySelector(`#layers input[value="${one.id}"]`);
    if (input) input.checked = true;
    element("layer-help").textContent = one.help;
    const own = one.kind === "classes" || one.id === "mask" || one.id === "error";
    element("hatch-choice").hidden = !page.veils || own;
    showLegend(one);
    draw();
  }

  function showLegend(one) {
    const legend = element("legend");
    legend.replaceChildren();
    legend.hidden = one.kind === "picture";
    const add = (tag, text) => {
      const made = document.createElement(tag);
      made.textContent = text;
      legend.append(made);
      return made;
    };
    if (one.kind === "picture") return;
    const colors = colorsOf(one);
    const color = (k) => `rgb(${colors[3 * k]} ${colors[3 * k + 1]} ${colors[3 * k + 2]})`;
    if (one.kind === "classes") {
      for (const [value, name] of Object.entries(one.names)) {
        const item = add("span", name);
        const box = document.createElement("i");
        box.style.backgroundColor = color(Number(value));
        item.prepend(box);
      }
      return;
    }
    add("span", one.ends[0]);
    const stops = [];
    for (let k = 0; k <= 16; k++) stops.push(color(Math.round(one.first + (k / 16) * (255 - one.first))));
    add("span", "").className = "ramp";
    legend.lastChild.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
    add("span", one.ends[1]);
  }

  // ------------------------------------------------------------------ charts

  const SVG = "http://www.w3.org/2000/svg";
  function shape(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    parent.append(made);
    return made;
  }

  const first = dates[0].at;
  const last = dates[count - 1].at;
  const DAY = 86400;

  function roundStep(span, most) {
    const rough = span / most;
    const power = 10 ** Math.floor(Math.log10(rough));
    return [1, 2, 5, 10].map((k) => k * power).find((s) => s >= rough);
  }

  function timeTicks(most) {
    if (last - first < 150 * DAY) return dayTicks(most);
    const month = 30.44 * DAY;
    const every = [1, 2, 3, 6, 12, 24, 60].find((m) => (last - first) / (m * month) <= most) || 120;
    const start = new Date(first * 1000);
    const ticks = [];
    const months = Math.floor(start.getUTCMonth() / every) * every;
    for (let k = 0; k < 400; k++) {
      const year = start.getUTCFullYear() - (every > 12 ? start.getUTCFullYear() % (every / 12) : 0);
      const when = new Date(Date.UTC(year, (every > 12 ? 0 : months) + k * every, 1));
      const seconds = when.getTime() / 1000;
      if (seconds > last) break;
      if (seconds >= first) {
        const text = when.toISOString();
        ticks.push([seconds, every >= 12 ? text.slice(0, 4) : text.slice(0, 7)]);
      }
    }
    return ticks;
  }

  function dayTicks(most) {
    const span = (last - first) / DAY;
    const every = [1, 2, 5, 7, 14, 30].find((n) => span / n <= most) || 60;
    const ticks = [];
    for (let t = Math.ceil(first / DAY) * DAY; t <= last; t += every * DAY) {
      ticks.push([t, new Date(t * 1000).toISOString().slice(5, 10)]);
    }
    return ticks;
  }

  class Chart {
    constructor(id, body, low, high, digits) {
      Object.assign(this, { body, low, high, digits });
      this.svg = element(id);
      this.svg.setAttribute("aria-valuemin", "0");
      this.svg.setAttribute("aria-valuemax", String(count - 1));
      this.tip = document.createElement("div");
      this.tip.className = "tip";
      this.tip.hidden = true;
      this.svg.parentElement.append(this.tip);
      this.svg.addEventListener("pointermove", (event) => this.hover(event));
      this.svg.addEventListener("pointerleave", () => { this.tip.hidden = true; });
      this.svg.addEventListener("click", (event) => choose(this.nearest(event)));
      this.svg.addEventListener("keydown", keys);
      this.svg.addEventListener("focus", () => this.tell(at));
      this.svg.addEventListener("blur", () => { this.tip.hidden = true; });
    }

    x(k) {
      if (last === first) return (this.left + this.right) / 2;
      return this.along(dates[k].at);
    }

    /** Position of a time; the first and the last date keep clear of the edges. */
    along(seconds) {
      const inset = 10;
      return this.left + inset + ((seconds - first) / (last - first)) * (this.right - this.left - 2 * inset);
    }

    y(value) {
      return this.bottom - ((value - this.low) / (this.high - this.low)) * (this.bottom - this.top);
    }

    draw() {
      const box = this.svg.getBoundingClientRect();
      if (!box.width) return;
      Object.assign(this, { left: 44, right: box.width - 4, top: 10, bottom: box.height - 22 });
      this.svg.setAttribute("viewBox", `0 0 ${box.width} ${box.height}`);
      this.svg.replaceChildren();
      const gap = roundStep(this.high - this.low, 5);
      for (let v = Math.ceil(this.low / gap - 1e-9) * gap; v <= this.high + 1e-9; v += gap) {
        const y = this.y(v).toFixed(1);
        shape(this.svg, "line", { class: "grid", x1: this.left, x2: this.right, y1: y, y2: y });
        const text = gap >= 1 ? v.toFixed(0) : v.toFixed(gap >= 0.1 ? 1 : 2);
        shape(this.svg, "text", { x: this.left - 6, y: Number(y) + 4, "text-anchor": "end" }, text.replace("-", "\u2212"));
      }
      const most = Math.max(2, Math.floor((this.right - this.left) / 75));
      if (last > first) {
        for (const [seconds, text] of timeTicks(most)) {
          const x = this.along(seconds);
          shape(this.svg, "line", { class: "grid", x1: x, x2: x, y1: this.bottom, y2: this.bottom + 4 });
          const anchor = x < this.left + 20 ? "start" : x > this.right - 26 ? "end" : "middle";
          shape(this.svg, "text", { x, y: this.bottom + 17, "text-anchor": anchor }, text);
        }
      }
      this.body(this);
      this.cursor = shape(this.svg, "line", { class: "cursor", y1: this.top - 6, y2: this.bottom });
      this.ring = shape(this.svg, "circle", { class: "ring", r: 6 });
      this.mark();
    }

    mark() {
      if (!this.cursor) return;
      const x = this.x(at);
      this.cursor.setAttribute("x1", x);
      this.cursor.setAttribute("x2", x);
      const value = this.ringed ? this.ringed(at) : null;
      this.ring.setAttribute("visibility", value === null ? "hidden" : "visible");
      if (value !== null) {
        this.ring.setAttribute("cx", x);
        this.ring.setAttribute("cy", this.y(value));
      }
      if (document.activeElement === this.svg) this.tell(at);
    }

    nearest(event) {
      const x = event.clientX - this.svg.getBoundingClientRect().left;
      let best = 0;
      for (let k = 1; k < count; k++) if (Math.abs(this.x(k) - x) < Math.abs(this.x(best) - x)) best = k;
      return best;
    }

    hover(event) {
      this.tell(this.nearest(event));
    }

    tell(k) {
      const lines = [dates[k].time, `${state(k)}, ${bytesText(dates[k].bytes)}`];
      if (curve.mean[k] === null) lines.push("too few clear pixels for a mean");
      else {
        lines.push(`${curve.name} ${curve.mean[k].toFixed(3)} (${curve.low[k].toFixed(2)} to ${curve.high[k].toFixed(2)})`);
        if (curve.original && curve.original[k] !== null) lines.push(`original ${curve.original[k].toFixed(3)}`);
      }
      if (pixel && pixel.series && pixel.series[k] !== null) lines.push(`pixel ${pixel.series[k].toFixed(2)}`);
      this.tip.replaceChildren(...lines.map((line) => {
        const row = document.createElement("div");
        row.textContent = line;
        return row;
      }));
      this.tip.hidden = false;
      const room = this.svg.parentElement.clientWidth - this.tip.offsetWidth;
      const x = this.x(k) + 12 > room ? this.x(k) - this.tip.offsetWidth - 12 : this.x(k) + 12;
      this.tip.style.transform = `translate(${Math.max(0, Math.min(x, room))}px, ${this.svg.offsetTop + 4}px)`;
    }
  }

  function polyline(chart, series, kind) {
    const known = dates.map((_, k) => k).filter((k) => series[k] !== null);
    const points = known.map((k) => `${chart.x(k).toFixed(1)},${chart.y(series[k]).toFixed(1)}`);
    if (points.length > 1) shape(chart.svg, "polyline", { class: "line " + kind, points: points.join(" ") });
    return known;
  }

  function curveBody(chart) {
    const known = dates.map((_, k) => k).filter((k) => curve.mean[k] !== null);
    const upper = known.map((k) => `${chart.x(k).toFixed(1)},${chart.y(curve.high[k]).toFixed(1)}`);
    const lower = known.map((k) => `${chart.x(k).toFixed(1)},${chart.y(curve.low[k]).toFixed(1)}`);
    if (known.length > 1) {
      shape(chart.svg, "polygon", { class: "spread", points: [...upper, ...lower.reverse()].join(" ") });
    }
    polyline(chart, curve.mean, "");
    for (let k = 0; k < count; k++) {
      const x = chart.x(k).toFixed(1);
      if (curve.mean[k] === null) {
        shape(chart.svg, "line", { class: "clouded", x1: x, x2: x, y1: chart.bottom - 9, y2: chart.bottom });
        continue;
      }
      shape(chart.svg, "circle", { class: "point", cx: x, cy: chart.y(curve.mean[k]).toFixed(1), r: count > 80 ? 2.6 : 3.6 });
      if (curve.original && curve.original[k] !== null) {
        shape(chart.svg, "circle", { class: "point original", cx: x, cy: chart.y(curve.original[k]).toFixed(1), r: count > 80 ? 3.6 : 4.6 });
      }
    }
    if (pixel && pixel.series) {
      for (const k of polyline(chart, pixel.series, "pixel")) {
        const value = Math.min(Math.max(pixel.series[k], chart.low), chart.high);
        shape(chart.svg, "circle", { class: "point pixel", cx: chart.x(k).toFixed(1), cy: chart.y(value).toFixed(1), r: 3 });
      }
    }
  }

  function bytesBody(chart) {
    const gaps = dates.slice(1).map((d, k) => d.at - dates[k].at).sort((a, b) => a - b);
    const gap = gaps.length ? gaps[Math.floor(gaps.length / 2)] : DAY;
    const span = Math.max(last - first, DAY);
    const wide = Math.min(12, Math.max(1.5, (0.8 * gap / span) * (chart.right - chart.left)));
    for (let k = 0; k < count; k++) {
      const y = chart.y(dates[k].bytes / 1000);
      shape(chart.svg, "rect", {
        class: "bar", x: (chart.x(k) - wide / 2).toFixed(1), width: wide.toFixed(1),
        y: y.toFixed(1), height: Math.max(0.5, chart.bottom - y).toFixed(1),
        opacity: (0.3 + 0.7 * dates[k].clear).toFixed(2),
      });
    }
  }

  const seen = [...curve.low, ...curve.high, ...(curve.original || [])].filter((v) => v !== null);
  let [low, high] = seen.length ? [Math.min(...seen), Math.max(...seen)] : [0, 1];
  const margin = Math.max(0.05, 0.06 * (high - low));
  [low, high] = [low - 1.5 * margin, high + margin];
  const most = Math.max(...dates.map((d) => d.bytes), 1) / 1000;
  const charts = [
    new Chart("curve", curveBody, low, high),
    new Chart("bytes", bytesBody, 0, most * 1.08),
  ];
  charts[0].ringed = (k) => curve.mean[k];
  const drawCharts = () => charts.forEach((chart) => chart.draw());

  // ------------------------------------------------------------------ controls

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const moves = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 };
    if (event.key in moves) step(moves[event.key]);
    else if (event.key === "Home") choose(0);
    else if (event.key === "End") choose(count - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (pixel) release();
      for (const chart of charts) chart.tip.hidden = true;
      readout.hidden = true;
      return;
    }
    const target = event.target;
    // the page's own keys; controls, and tables that scroll, keep theirs
    if (target instanceof Element && target.closest("input, button, summary, a, .scroll")) return;
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      step(event.key === "ArrowLeft" ? -1 : 1);
      event.preventDefault();
    } else if (event.key === " " && target === document.body) {
      play(!timer);
      event.preventDefault();
    } else if (/^[1-9]$/.test(event.key) && layers[Number(event.key) - 1]) {
      switchTo(layers[Number(event.key) - 1]);
    }
  });

  for (const [k, one] of layers.entries()) {
    const label = document.createElement("label");
    const input = document.createElement("input");
    input.type = "radio";
    input.name = "layer";
    input.value = one.id;
    const text = document.createElement("span");
    text.textContent = one.name;
    label.title = `${one.help} (key ${k + 1})`;
    label.append(input, text);
    input.addEventListener("change", () => switchTo(one));
    element("layers").append(label);
  }

  slider.max = String(count - 1);
  slider.addEventListener("input", () => { play(false); choose(Number(slider.value)); });
  slider.addEventListener("keydown", (event) => {
    // with only clear dates asked for, the slider must step over the others too
    if (clearOnly.checked) keys(event);
  });
  element("previous").addEventListener("click", () => { play(false); step(-1); });
  element("next").addEventListener("click", () => { play(false); step(1); });
  playButton.addEventListener("click", () => play(!timer));
  hatch.addEventListener("change", draw);
  outline.addEventListener("change", draw);
  canvas.addEventListener("pointermove", (event) => { read(event).catch(() => {}); });
  canvas.addEventListener("pointerleave", () => { readout.hidden = true; });
  canvas.addEventListener("click", (event) => { pick(event).catch(() => {}); });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-date]");
    if (link) {
      choose(Number(link.dataset.date));
      element("viewer").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    }
  });

  element("outline-choice").hidden = !page.outline.length;
  for (const id of ["hatch-choice"]) element(id).hidden = !page.veils;
  if (count === 1) {
    for (const part of [slider, playButton, element("previous"), element("next")]) part.hidden = true;
    clearOnly.closest("p").hidden = true;
  }
  element("pixel-help").hidden = false;
  document.querySelector(".key-original").hidden = !curve.original;
  const mean = curve.name === "NDVI" ? "Mean NDVI of clear pixels" : `Mean ${curve.name} of clear pixels`;
  element("curve-title").textContent = `${mean}, with the span from the 10th to the 90th percentile`;
  element("bytes-title").textContent = "Kilobytes per date; paler where clouds hide the ground";
  new ResizeObserver(drawCharts).observe(charts[0].svg.parentElement);
  switchTo(layers[0]);
  choose(page.start);
  drawCharts();
})();
