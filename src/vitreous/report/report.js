"use strict";
// Draws the charts and the isosurface from the JSON beside them, in the colours of the page.
(() => {
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => root.dataset.theme === "dark";
  const setTheme = (dark) => { root.dataset.theme = dark ? "dark" : "light"; };
  const colour = (name) => getComputedStyle(root).getPropertyValue(`--${name}`).trim();

  // "@name" is the custom property --name; "@heat" is the sequence of colours for densities.
  const resolve = (value) => {
    if (typeof value === "string") {
      if (value === "@heat") return [0, 1, 2, 3, 4, 5].map((i) => [i / 5, colour(`heat-${i}`)]);
      return value.startsWith("@") ? colour(value.slice(1)) : value;
    }
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(resolve);
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
  };

  const font = () => ({ family: getComputedStyle(document.body).fontFamily, size: 12.5, color: colour("ink") });
  const axisStyle = (axis) => ({
    gridcolor: colour("grid"), zerolinecolor: colour("hair"), linecolor: colour("hair"), zeroline: false,
    automargin: true, tickfont: { color: colour("muted") }, ...axis,
    title: { standoff: 8, font: { size: 12.5, color: colour("muted") }, ...(axis && axis.title) },
  });
  const layoutOf = (given) => ({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: font(), showlegend: false,
    margin: { l: 52, r: 14, t: 10, b: 44 }, legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", bgcolor: "rgba(0,0,0,0)" },
    hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("hair"), font: font() }, dragmode: "zoom",
    ...given, xaxis: axisStyle(given.xaxis), yaxis: axisStyle(given.yaxis),
  });
  const options = {
    responsive: true, displaylogo: false, displayModeBar: false, showTips: false, doubleClick: "reset",
  };

  const drawCharts = () => document.querySelectorAll(".plot").forEach((element) => {
    element.spec ??= JSON.parse(element.querySelector("script").textContent);
    const spec = resolve(element.spec);
    // Paper has another width than the window, and printing does not wait for charts to notice.
    const width = root.classList.contains("paper") ? element.clientWidth : undefined;
    Plotly.react(element, spec.data, { ...layoutOf(spec.layout), width, autosize: !width }, options);
  });

  const scene = document.getElementById("latents");
  const choices = ["latent-x", "latent-y", "latent-colour"].map((name) => document.getElementById(name));
  const cloud = scene ? JSON.parse(document.getElementById("latent-data").textContent) : null;

  const drawLatents = () => {
    if (!scene) return;
    const [x, y, by] = choices.map((choice) => choice.value);
    const marker = { size: 4.5, opacity: 0.6, color: colour("c1") };
    const values = cloud.colours[by];
    if (values) {
      Object.assign(marker, {
        color: values, colorscale: "Viridis",
        colorbar: { title: { text: by, side: "right", font: { color: colour("muted"), size: 12 } }, thickness: 9, outlinewidth: 0, tickfont: { color: colour("muted") } },
      });
    }
    const particles = {
      type: "scatter", mode: "markers", name: "particles", x: cloud.axes[x], y: cloud.axes[y], text: cloud.ids, marker,
      customdata: values ?? cloud.ids.map(() => ""), showlegend: false,
      hovertemplate: `%{text}<br>%{x:.4~g}, %{y:.4~g}${values ? `<br>${by} %{customdata:.4~g}` : ""}<extra></extra>`,
    };
    const ways = Object.entries(cloud.ways).map(([name, at], number) => ({
      type: "scatter", name, mode: name === "kmeans" ? "markers" : "lines+markers", x: at[x], y: at[y],
      line: { width: 2, color: colour(`c${2 + number % 4}`) }, hovertemplate: `${name} %{pointNumber}<extra></extra>`,
      marker: { size: 9, symbol: "x-thin", line: { width: 2, color: colour(`c${2 + number % 4}`) } },
    }));
    const layout = { ...layoutOf({ xaxis: { title: { text: x } }, yaxis: { title: { text: y } } }), showlegend: ways.length > 0 };
    const width = root.classList.contains("paper") ? scene.clientWidth : undefined;
    Plotly.react(scene, [particles, ...ways], { ...layout, width, autosize: !width, hovermode: "closest" }, options);
  };

  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
  const decode = (level) => {
    const flat = new Int16Array(bytes(level.vertices));
    const corners = level.bytes_per_index === 2 ? new Uint16Array(bytes(level.triangles)) : new Uint32Array(bytes(level.triangles));
    const column = (array, start, scale) =>
      Float32Array.from({ length: array.length / 3 }, (_, row) => array[3 * row + start] * scale);
    const index = (start) => Uint32Array.from({ length: corners.length / 3 }, (_, row) => corners[3 * row + start]);
    return {
      x: column(flat, 0, level.scale), y: column(flat, 1, level.scale), z: column(flat, 2, level.scale),
      i: index(0), j: index(1), k: index(2), intensity: new Uint8Array(bytes(level.openness)),
    };
  };

  const stage = document.getElementById("surface");
  const slider = document.getElementById("level");
  const levels = stage ? JSON.parse(document.getElementById("levels").textContent) : [];

  const drawSurface = () => {
    if (!stage) return;
    const level = levels[slider.value];
    level.mesh ??= decode(level);
    const reach = Math.max(...levels.map((other) => other.reach_A));
    const axis = { visible: false, range: [-reach, reach], showspikes: false };
    const trace = {
      type: "mesh3d", ...level.mesh, hoverinfo: "skip", flatshading: false, showscale: false, cmin: 0, cmax: 255,
      colorscale: [[0, colour("mesh-deep")], [0.55, colour("mesh")], [1, colour("mesh-high")]],
      lighting: { ambient: 0.38, diffuse: 0.8, specular: 0.22, roughness: 0.5, fresnel: 0.15 },
      lightposition: { x: -60000, y: 90000, z: -40000 }, // seen from the camera: left, above, in front
    };
    const layout = {
      margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "rgba(0,0,0,0)", uirevision: "keep",
      scene: {
        xaxis: axis, yaxis: axis, zaxis: axis, aspectmode: "manual", aspectratio: { x: 1.75, y: 1.75, z: 1.75 },
        bgcolor: "rgba(0,0,0,0)", dragmode: "orbit", uirevision: "keep",
        camera: { eye: { x: 1.3, y: -1.3, z: 0.7 }, up: { x: 0, y: 0, z: 1 }, projection: { type: "orthographic" } },
      },
    };
    const round = (value, digits) => value.toLocaleString("en", { maximumSignificantDigits: digits });
    const words = `${level.threshold.toPrecision(3)} · ${round(level.volume_nm3, 3)} nm³ ≈ ${round(level.protein_kDa, 2)} kDa`;
    document.getElementById("level-text").textContent = words;
    slider.setAttribute("aria-valuetext", words);
    Plotly.react(stage, [trace], layout, { ...options, scrollZoom: true }).then(keepForPrint);
  };

  // Browsers print a WebGL canvas blank, so an image of it is kept ready.
  let pending = 0;
  const keepForPrint = () => {
    clearTimeout(pending);
    pending = setTimeout(() => Plotly.toImage(stage, { format: "png", width: 900, height: 700 }).then((source) => {
      const image = stage.querySelector(".printed") ?? stage.appendChild(Object.assign(new Image(), { className: "printed", alt: "" }));
      image.src = source;
    }).catch(() => {}), 1000);
  };

  const drawAll = () => {
    if (!window.Plotly) return;
    drawCharts();
    drawLatents();
    drawSurface();
  };
  if (scene) choices.forEach((choice) => choice.addEventListener("change", drawLatents));
  setTheme(system.matches);
  drawAll();
  if (stage && window.Plotly) {
    slider.addEventListener("input", drawSurface);
    stage.on("plotly_relayout", keepForPrint);
  }
  system.addEventListener("change", () => { setTheme(system.matches); drawAll(); });
  document.getElementById("theme").addEventListener("click", () => { setTheme(!isDark()); drawAll(); });
  let wasDark = false;
  addEventListener("beforeprint", () => {
    wasDark = isDark();
    document.querySelectorAll("details").forEach((block) => { block.open = true; });
    root.classList.add("paper");
    setTheme(false);
    drawCharts();
    if (window.Plotly) drawLatents();
    if (wasDark) drawSurface();
  });
  addEventListener("afterprint", () => {
    root.classList.remove("paper");
    setTheme(wasDark);
    drawCharts();
    if (window.Plotly) drawLatents();
    if (wasDark) drawSurface();
  });
})();
