// Two minutes of some numbers as lines, newest at the right.
const SECONDS = 120;
const LABEL_PX = 17; // Above the curves.

export class Graph {
  // series: [{ name: "--colour", isFilled: true }]; label: (top) => text for the highest value.
  constructor(canvas, series, label, floor) {
    this.canvas = canvas;
    this.series = series;
    this.label = label;
    this.floor = floor; // The scale never shows less than this: no drama out of noise.
    this.points = [];
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  // point: a value a series, null where there is none; rule: a dashed line; isMarked: a red tick.
  add(point, { rule = null, isMarked = false } = {}) {
    this.points.push({ point, isMarked });
    this.rule = rule;
    if (this.points.length > SECONDS) this.points.shift();
    this.draw();
  }

  draw() {
    const { canvas } = this;
    const scale = self.devicePixelRatio || 1;
    const width = canvas.clientWidth;
    const height = canvas.clientHeight;
    if (!width) return;
    canvas.width = width * scale;
    canvas.height = height * scale;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    const style = getComputedStyle(canvas);
    const colour = (name) => style.getPropertyValue(name);
    const values = this.points.flatMap(({ point }) => point).filter((value) => value !== null);
    const top = Math.max(this.floor, this.rule ?? 0, ...values);
    const x = (index) => ((index + SECONDS - this.points.length) / (SECONDS - 1)) * width;
    const y = (value) => height - 1.5 - ((height - LABEL_PX - 1.5) * value) / top;

    pen.strokeStyle = colour("--line");
    pen.lineWidth = 1;
    for (const part of [0, 1 / 3, 2 / 3, 1]) rulerLine(pen, width, Math.round(y(part * top)) + 0.5);
    if (this.rule !== null && this.rule !== undefined) {
      pen.strokeStyle = colour("--soft");
      pen.setLineDash([4, 4]);
      rulerLine(pen, width, y(this.rule));
      pen.setLineDash([]);
    }
    this.series.forEach(({ name, isFilled }, number) => {
      const line = this.points.map(({ point }, index) => [x(index), point[number]]);
      curve(pen, line.filter(([, value]) => value !== null), y, height, colour(name), isFilled);
    });
    pen.fillStyle = colour("--bad");
    this.points.forEach(({ isMarked }, index) => { if (isMarked) pen.fillRect(x(index) - 1, 0, 2, 5); });
    pen.fillStyle = colour("--soft");
    pen.font = "11px system-ui, sans-serif";
    pen.fillText(this.label(top), 2, LABEL_PX - 5);
  }
}

function rulerLine(pen, width, y) {
  pen.beginPath();
  pen.moveTo(0, y);
  pen.lineTo(width, y);
  pen.stroke();
}

function curve(pen, points, y, height, colour, isFilled) {
  if (points.length < 2) return;
  pen.beginPath();
  points.forEach(([x, value], index) => (index ? pen.lineTo(x, y(value)) : pen.moveTo(x, y(value))));
  pen.strokeStyle = colour;
  pen.lineWidth = 2;
  pen.lineJoin = "round";
  pen.stroke();
  if (!isFilled) return;
  pen.lineTo(points.at(-1)[0], height);
  pen.lineTo(points[0][0], height);
  pen.globalAlpha = 0.15;
  pen.fillStyle = colour;
  pen.fill();
  pen.globalAlpha = 1;
}
