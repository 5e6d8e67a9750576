// Draws one chart per sensor channel: samples as signed, limits as lines, excursions shaded, gaps as hatched gaps.
// Fetches /batches/<batch>/series.json; the table beside the charts says the same in numbers. Never builds HTML from text.
"use strict";

(function () {
  if (typeof uPlot === "undefined") return;

  const REDRAW_MS = 20000;
  const FAR_SPANS = 20; // a limit further away than this many spans of the curve is named, not drawn
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let place = null; // where the charts stand; a running batch gets it with its first sensor values
  let charts = [];
  let shown = null;

  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function two(number) {
    return String(number).padStart(2, "0");
  }

  function clockWords(seconds, withSeconds) {
    const at = new Date(seconds * 1000);
    const words = two(at.getUTCHours()) + ":" + two(at.getUTCMinutes());
    return withSeconds ? words + ":" + two(at.getUTCSeconds()) : words;
  }

  function dayWords(seconds) {
    return new Date(seconds * 1000).toISOString().slice(0, 10);
  }

  function axisWords(u, splits) {
    const fine = splits.length > 1 && splits[1] - splits[0] < 60;
    let day = "";
    return splits.map(function (seconds) {
      const newDay = dayWords(seconds) !== day;
      day = dayWords(seconds);
      return clockWords(seconds, fine) + (newDay ? "\n" + day : "");
    });
  }

  // Limits far away would flatten the curve; the caption names them in any case.
  function valueRange(channel) {
    return function (u, low, high) {
      if (low === null || high === null) return [0, 1];
      const span = Math.max(high - low, Math.pow(10, -channel.digits) * 4);
      let bottom = low, top = high;
      for (const limit of channel.limits) {
        for (const edge of [limit.low, limit.high]) {
          if (edge === null || edge < low - FAR_SPANS * span || edge > high + FAR_SPANS * span) continue;
          bottom = Math.min(bottom, edge);
          top = Math.max(top, edge);
        }
      }
      const room = Math.max((top - bottom) * 0.08, span * 0.05);
      return [bottom - room, top + 2 * room]; // above, the words of the highest limit need room
    };
  }

  function eachSpan(u, spans, draw) {
    const { left, top, width, height } = u.bbox;
    for (const span of spans) {
      const from = Math.max(left, u.valToPos(span.from_ms / 1000, "x", true));
      const until = span.until_ms === null ? left + width : Math.min(left + width, u.valToPos(span.until_ms / 1000, "x", true));
      if (until <= left || from >= left + width) continue;
      draw(from, top, Math.max(until - from, 2 * devicePixelRatio), height, span);
    }
  }

  function hatch(context, x, y, width, height) {
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.fillStyle = color("--calm-wash");
    context.fill();
    context.clip();
    context.beginPath();
    const step = 9 * devicePixelRatio;
    for (let at = x - height; at < x + width; at += step) {
      context.moveTo(at, y + height);
      context.lineTo(at + height, y);
    }
    context.strokeStyle = color("--line-strong");
    context.globalAlpha = 0.55;
    context.lineWidth = devicePixelRatio;
    context.stroke();
    context.restore();
  }

  function drawBehind(channel) {
    return function (u) {
      const context = u.ctx;
      eachSpan(u, channel.gaps, (x, y, width, height) => hatch(context, x, y, width, height));
      eachSpan(u, channel.excursions, function (x, y, width, height, span) {
        context.save();
        context.fillStyle = color(span.band === "action" ? "--critical" : "--major");
        context.globalAlpha = span.band === "action" ? 0.2 : 0.1;
        context.fillRect(x, y, width, height);
        context.restore();
      });
    };
  }

  function drawLimits(channel) {
    return function (u) {
      const context = u.ctx;
      const { left, top, width, height } = u.bbox;
      context.save();
      context.beginPath();
      context.rect(left, top, width, height);
      context.clip();
      context.lineWidth = 1.5 * devicePixelRatio;
      context.font = 11 * devicePixelRatio + "px " + color("--sans");
      context.textBaseline = "bottom";
      context.textAlign = "left";
      const named = []; // heights where words stand already: on a small screen the action limits' win
      for (const limit of [...channel.limits].sort((a, b) => (a.band > b.band ? 1 : -1))) {
        const action = limit.band === "action";
        context.strokeStyle = context.fillStyle = color(action ? "--critical" : "--major");
        context.setLineDash(action ? [7 * devicePixelRatio, 4 * devicePixelRatio] : [2 * devicePixelRatio, 4 * devicePixelRatio]);
        for (const edge of [limit.low, limit.high]) {
          if (edge === null) continue;
          const y = u.valToPos(edge, "y", true);
          context.beginPath();
          context.moveTo(left, y);
          context.lineTo(left + width, y);
          context.stroke();
          if (named.some((other) => Math.abs(other - y) < 13 * devicePixelRatio)) continue;
          named.push(y);
          context.fillText(limit.band + " " + edge.toFixed(channel.digits), left + 4 * devicePixelRatio, y - 2 * devicePixelRatio);
        }
      }
      context.restore();
    };
  }

  function options(channel, width) {
    const axis = {
      stroke: color("--ink-soft"),
      grid: { stroke: color("--line"), width: 1 },
      ticks: { stroke: color("--line"), width: 1 },
      font: "12px " + color("--sans"),
    };
    return {
      width: width,
      height: width < 500 ? 190 : 220,
      legend: { show: true, live: true },
      cursor: { sync: { key: "batch" }, drag: { x: true, y: false } },
      scales: { x: { time: true, range: shown.span }, y: { range: valueRange(channel) } },
      series: [
        { label: "UTC", value: (u, at) => (at === null ? "–" : dayWords(at) + " " + clockWords(at, true)) },
        {
          label: channel.name,
          stroke: color("--link"),
          width: 1.5,
          spanGaps: false,
          points: { show: false },
          value: (u, value) => (value === null || value === undefined ? "no value" : value.toFixed(channel.digits) + " " + channel.unit),
        },
      ],
      axes: [
        Object.assign({ values: axisWords, space: 70 }, axis),
        Object.assign({ size: 58, values: (u, splits) => splits.map((value) => value.toFixed(Math.min(channel.digits, 2))) }, axis),
      ],
      hooks: { drawClear: [drawBehind(channel)], draw: [drawLimits(channel)] },
    };
  }

  function figure(channel) {
    const figure = document.createElement("figure");
    figure.className = "chart";
    const caption = document.createElement("figcaption");
    const title = document.createElement("h3");
    title.textContent = channel.name + (channel.unit ? ", " + channel.unit : "");
    const words = document.createElement("span");
    words.className = "soft small";
    words.textContent = channel.words;
    caption.append(title, words);
    const canvas = document.createElement("div");
    canvas.className = "canvas";
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", "Chart of " + channel.name + ". " + channel.words);
    figure.append(caption, canvas);
    place.append(figure);
    return canvas;
  }

  function draw() {
    for (const chart of charts) chart.destroy();
    charts = [];
    place.replaceChildren();
    for (const channel of shown.channels) {
      const canvas = figure(channel);
      charts.push(new uPlot(options(channel, canvas.clientWidth), [channel.times, channel.values], canvas));
    }
    place.dataset.drawn = String(charts.length);
  }

  function fail(words) {
    const note = document.createElement("p");
    note.className = "nothing";
    note.textContent = words;
    place.replaceChildren(note);
  }

  function load() {
    fetch(place.dataset.series, { credentials: "same-origin", headers: { Accept: "application/json" } })
      .then(function (response) {
        if (!response.ok || response.redirected) throw new Error(String(response.status));
        return response.json();
      })
      .then(function (series) {
        for (const channel of series.channels) channel.times = channel.times_ms.map((ms) => ms / 1000);
        const first = Math.min(...series.channels.map((channel) => channel.times[0]));
        const last = Math.max(...series.channels.map((channel) => channel.times[channel.times.length - 1]));
        series.span = function (u, low, high) {
          return low === null ? [first, last] : [low, high];
        };
        shown = series;
        draw();
      })
      .catch(function (error) {
        console.error(error);
        if (!shown) fail("The curves could not be drawn. Reload the page to try again; the table below is complete.");
      });
  }

  function resize() {
    for (const chart of charts) {
      const width = chart.root.parentElement.clientWidth;
      if (width && width !== chart.width) chart.setSize({ width: width, height: chart.height });
    }
  }

  window.addEventListener("resize", resize);
  dark.addEventListener("change", () => shown && draw());
  function start() {
    place = document.getElementById("chart");
    if (place) load();
  }

  // New facts arrived for a running batch: the curve follows, but no faster than it can be read.
  let drawnAt = Date.now();
  document.addEventListener("htmx:oobAfterSwap", function (event) {
    const fresh = event.target.id === "sensors";
    if (!fresh && (event.target.id !== "sensor-facts" || Date.now() - drawnAt < REDRAW_MS)) return;
    drawnAt = Date.now();
    start();
  });
  start();
})();
