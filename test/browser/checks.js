// Returns what is wrong with how a page looks: elements outside the screen, text over
// text, text that can hardly be read, pictures that say nothing to who cannot see them.
(() => {
  const problems = [];
  for (const d of document.querySelectorAll('details')) d.open = true;
  const name = (e) => `<${e.tagName.toLowerCase()} class="${e.getAttribute('class') || ''}"> ${JSON.stringify((e.textContent || '').trim().slice(0, 40))}`;
  const hidden = (e) => e.closest('.hidden, head, title, desc, script, style') !== null;
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) problems.push(`the page is ${document.documentElement.scrollWidth} wide, outside of ${width}`);
  for (const e of document.body.querySelectorAll('*')) {
    if (hidden(e) || e.closest('svg svg')) continue;
    const r = e.getBoundingClientRect();
    if (r.width && (r.left < -1 || r.right > width + 1)) problems.push(`outside the screen (${r.left.toFixed(0)} to ${r.right.toFixed(0)} of ${width}): ${name(e)}`);
  }

  const texts = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const n = walk.currentNode;
    if (!n.data.trim() || hidden(n.parentElement)) continue;
    const range = document.createRange();
    range.selectNodeContents(n);
    for (const r of range.getClientRects()) if (r.width > 0 && r.height > 0) texts.push({ n, r });
  }
  // Lines of one paragraph may touch: what counts is how far letters reach into others.
  const slack = 3;
  for (let i = 0; i < texts.length; i++) {
    for (let j = i + 1; j < texts.length; j++) {
      const a = texts[i], b = texts[j];
      if (a.n === b.n) continue;
      const x = Math.min(a.r.right, b.r.right) - Math.max(a.r.left, b.r.left);
      const y = Math.min(a.r.bottom, b.r.bottom) - Math.max(a.r.top, b.r.top);
      if (x > slack && y > slack) problems.push(`text overlaps: ${JSON.stringify(a.n.data.trim().slice(0, 30))} and ${JSON.stringify(b.n.data.trim().slice(0, 30))}`);
    }
  }

  const rgb = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length === 3 ? [...m, 1] : m; };
  const light = (c) => c.slice(0, 3).map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c[3] > 0) return c;
    }
    return [255, 255, 255, 1];
  };
  const judged = new Set();
  for (const { n } of texts) {
    const e = n.parentElement;
    if (judged.has(e)) continue;
    judged.add(e);
    const style = getComputedStyle(e);
    const [a, b] = [light(rgb(e.closest('svg') ? style.fill : style.color)), light(ground(e))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) problems.push(`contrast ${contrast.toFixed(1)}: ${name(e)}`);
  }

  for (const s of document.querySelectorAll('svg')) {
    const says = s.querySelector(':scope > title') && s.querySelector(':scope > desc');
    if (!says && s.getAttribute('aria-hidden') !== 'true' && !s.parentElement.closest('svg')) problems.push(`a picture with no title and description: ${name(s)}`);
  }
  return problems;
})()
