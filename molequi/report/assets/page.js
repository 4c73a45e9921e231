"use strict";
// Fills every .viewer of the page: a picture of molecules to turn, by 3Dmol.js, and its controls.
(() => {
  const COLOURS = ["#f08a24", "#2b7a4b", "#8a3b8f"];
  const DIPOLE = "#1f5fa8";
  const LONGEST = 1.6; // Å, of the longest arrow
  const DEBYE = 4.80320; // D of 1 e·Å
  const SWING = 1400, FRAME = 70; // ms of one swing of a mode; between frames of a film
  const REACH = 0.35; // Å that the fastest atom of a mode moves to either side

  const node = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  const length = (v) => Math.hypot(v[0], v[1], v[2]);
  const longest = (vectors) => vectors.reduce((most, v) => Math.max(most, length(v)), 0);
  const short = (value) => Number(value.toPrecision(3)).toString();
  const point = (v) => ({ x: v[0], y: v[1], z: v[2] });

  class Viewer {
    constructor(box) {
      this.stage = box.querySelector(".stage");
      this.controls = box.querySelector(".controls");
      this.data = JSON.parse(document.getElementById(box.dataset.scene).textContent);
      this.shown = new Set(this.data.shown);
      this.frame = this.mode = 0;
      this.timer = this.started = this.missed = null;
      if (!this.open()) return;
      this.makeControls();
      this.draw(true);
      // After the one of 3Dmol, which gives the canvas the size of the stage.
      new ResizeObserver(() => { if (this.missed) this.draw(this.missed.isNew); }).observe(this.stage);
    }

    open() {
      const without = this.stage.querySelector(".without");
      const test = document.createElement("canvas");
      if (!test.getContext("webgl2") && !test.getContext("webgl")) {
        without.textContent = "This browser shows no WebGL, which the picture needs.";
        return false;
      }
      this.view = $3Dmol.createViewer(this.stage, { backgroundColor: "#f5f7fa", antialias: true });
      without.remove();
      // The wheel turns the page, not the picture, until somebody has clicked into the picture.
      this.stage.addEventListener("pointerdown", () => this.stage.focus());
      this.stage.addEventListener("wheel", (event) => {
        if (document.activeElement !== this.stage) event.stopPropagation();
      }, true);
      return true;
    }

    makeControls() {
      const { frames, modes, motion } = this.data;
      const row = node("div", { className: "row" });
      if (modes.length) {
        row.append(this.choice(modes, "mode", (number) => { this.mode = number; this.draw(); }));
        row.append(this.playButton());
      } else if (motion && frames.length > 1) {
        this.range = node("input", { type: "range", min: 0, max: frames.length - 1, value: 0 });
        this.range.setAttribute("aria-label", "frame");
        this.range.addEventListener("input", () => { this.stop(); this.go(Number(this.range.value)); });
        row.append(this.playButton(), this.range);
      } else if (frames.length > 1) {
        const step = (by, text, label) => {
          const button = node("button", { type: "button", textContent: text });
          button.setAttribute("aria-label", label);
          button.addEventListener("click", () => {
            this.go((this.frame + by + frames.length) % frames.length, true);
            this.select.value = this.frame;
          });
          return button;
        };
        row.append(step(-1, "‹", "previous"), this.choice(frames, "structure", (n) => this.go(n, true)),
          step(1, "›", "next"));
      }
      const switches = node("div", { className: "row" });
      const names = Object.keys(this.data.units);
      names.forEach((name, k) => switches.append(this.toggle(name, COLOURS[k % COLOURS.length])));
      if (frames.some((frame) => frame.dipole)) switches.append(this.toggle("dipole", DIPOLE));
      switches.append(this.toggle("numbers", null));
      this.note = node("p");
      this.note.setAttribute("aria-live", motion || modes.length ? "off" : "polite");
      this.controls.append(...(row.childNodes.length ? [row] : []), switches, this.note);
    }

    choice(entries, label, then) {
      this.select = node("select");
      this.select.setAttribute("aria-label", label);
      entries.forEach((entry, k) => this.select.append(node("option", { value: k, textContent: entry.title })));
      this.select.addEventListener("change", () => then(Number(this.select.value)));
      return this.select;
    }

    playButton() {
      this.button = node("button", { type: "button", textContent: "Play" });
      this.button.addEventListener("click", () => (this.timer === null ? this.play() : this.stop()));
      return this.button;
    }

    toggle(name, colour) {
      const box = node("input", { type: "checkbox", checked: this.shown.has(name) });
      box.addEventListener("change", () => {
        if (box.checked) this.shown.add(name); else this.shown.delete(name);
        this.draw();
      });
      const swatch = node("span", { className: "swatch" });
      if (colour) swatch.style.background = colour;
      return node("label", {}, box, ...(colour ? [swatch] : []), name === "numbers" ? "numbers of atoms" : name);
    }

    play() {
      this.button.textContent = "Stop";
      this.started = performance.now();
      const turn = (now) => {
        if (this.data.modes.length) this.draw();
        else if (now - this.started >= FRAME) {
          this.started = now;
          this.go((this.frame + 1) % this.data.frames.length);
        }
        this.timer = requestAnimationFrame(turn);
      };
      this.timer = requestAnimationFrame(turn);
    }

    stop() {
      if (this.timer !== null) cancelAnimationFrame(this.timer);
      this.timer = null;
      if (this.button) this.button.textContent = "Play";
      if (this.data.modes.length) this.draw();
    }

    go(frame, isNew = false) {
      this.frame = frame;
      if (this.range) this.range.value = frame;
      this.draw(isNew);
    }

    positions(frame) {
      const mode = this.data.modes[this.mode];
      if (!mode || this.timer === null) return frame.positions;
      const phase = REACH * Math.sin((2 * Math.PI * (performance.now() - this.started)) / SWING);
      return frame.positions.map((p, i) => p.map((x, k) => x + phase * mode.move[i][k]));
    }

    draw(isNew = false) {
      // Into a canvas without a size WebGL draws nothing, and complains; a hidden stage has none.
      const canvas = this.stage.querySelector("canvas");
      if (!canvas.width || !canvas.height) {
        this.missed = { isNew: isNew || Boolean(this.missed && this.missed.isNew) };
        return;
      }
      this.missed = null;
      const frame = this.data.frames[this.frame], view = this.view;
      const places = this.positions(frame);
      view.removeAllModels(); view.removeAllShapes(); view.removeAllLabels();
      const lines = places.map((p, i) => `${frame.symbols[i]} ${p.join(" ")}`);
      view.addModel(`${places.length}\n\n${lines.join("\n")}`, "xyz");
      view.setStyle({}, { stick: { radius: 0.13 }, sphere: { scale: 0.24 } });
      const told = this.arrows(frame, places);
      if (frame.cell) this.cell(frame.cell);
      if (this.shown.has("numbers")) places.forEach((p, i) => view.addLabel(String(i), {
        position: point(p), fontSize: 13, fontColor: "#1b2733", backgroundColor: "white",
        backgroundOpacity: 0.75, alignment: "center",
      }));
      if (isNew) this.fill(places);
      view.render();
      const title = this.select ? "" : frame.title;
      this.note.textContent = [title, ...frame.notes.map(([name, value]) => `${name} ${value}`), ...told]
        .filter(Boolean).join(" · ");
    }

    // Comes so near that the molecule fills the picture, whose camera stands 150 Å away and sees 20°.
    fill(places) {
      this.view.zoomTo();
      const view = this.view.getView();
      const reach = longest(places) + 1.6;
      view[3] = 150 - (1.05 * reach) / Math.tan(Math.PI / 18);
      this.view.setView(view);
    }

    arrows(frame, places) {
      const told = [];
      Object.entries(this.data.units).forEach(([name, unit], k) => {
        const vectors = frame.arrows[name];
        if (!vectors || !this.shown.has(name)) return;
        const all = this.data.motion ? this.data.frames.map((one) => one.arrows[name] || []).flat() : vectors;
        const most = longest(all);
        if (!most) { told.push(`no ${name}`); return; }
        vectors.forEach((v, i) => this.arrow(places[i], v, LONGEST / most, COLOURS[k % COLOURS.length]));
        told.push(`longest arrow of ${name}: ${short(most)} ${unit}`);
      });
      const mode = this.data.modes[this.mode];
      if (mode) {
        told.unshift(mode.title);
        if (this.shown.has("displacements")) {
          mode.move.forEach((v, i) => this.arrow(places[i], v, 1.2 / longest(mode.move), COLOURS[0]));
        }
      }
      if (frame.dipole && this.shown.has("dipole")) {
        const size = length(frame.dipole);
        const middle = [0, 1, 2].map((k) => places.reduce((sum, p) => sum + p[k], 0) / places.length);
        const reach = 2 / Math.max(size, 1e-9);
        if (size * DEBYE > 0.005) this.arrow(middle, frame.dipole, reach, DIPOLE, 0.09, -0.5);
        told.push(`dipole ${short(size * DEBYE)} D, from − to +`);
      }
      return told;
    }

    arrow(from, vector, scale, color, radius = 0.07, shift = 0) {
      if (length(vector) * scale < 0.05) return;
      const start = from.map((x, k) => x + shift * scale * vector[k]);
      const end = start.map((x, k) => x + scale * vector[k]);
      this.view.addArrow({ start: point(start), end: point(end), radius, radiusRatio: 2.2, mid: 0.72, color });
    }

    cell(vectors) {
      const corner = (bits) => [0, 1, 2].map((k) => vectors.reduce((sum, v, j) => sum + (bits[j] - 0.5) * v[k], 0));
      for (let number = 0; number < 8; number += 1) {
        const bits = [number & 1, (number >> 1) & 1, (number >> 2) & 1];
        bits.forEach((bit, j) => {
          if (bit) return;
          const other = bits.slice();
          other[j] = 1;
          this.view.addCylinder({ start: point(corner(bits)), end: point(corner(other)), radius: 0.03, color: "#52606d" });
        });
      }
    }
  }

  // A picture is drawn when it comes near the window: a page with many opens at once.
  const watch = new IntersectionObserver((entries) => entries.forEach((entry) => {
    if (!entry.isIntersecting) return;
    watch.unobserve(entry.target);
    new Viewer(entry.target);
  }), { rootMargin: "200px" });
  document.querySelectorAll(".viewer").forEach((box) => watch.observe(box));
})();
