"""How the page of the explorer looks, and its script."""

from __future__ import annotations

from sagd_jax.show import svg

CSS = (
    svg.STYLE
    + """
.gradio-container { max-width: 1500px !important; }
.sagd .row { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: 10px; margin-bottom: 8px; }
.sagd .way { grid-template-columns: repeat(6, minmax(0, 1fr)); }
.sagd .charts { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 14px; }
.sagd figure { margin: 0; } .sagd figcaption { font-size: 12px; line-height: 1.35; padding: 1px 0; }
.sagd p { font-size: 12.5px; margin: 3px 0; }
.sagd .scale { display: flex; gap: 8px; align-items: center; font-size: 11.5px; white-space: nowrap; }
.sagd .scale img { height: 11px; image-rendering: auto; min-width: 0; flex: 1; }
.sagd .found { display: grid; grid-template-columns: minmax(150px, 260px) 1fr; gap: 16px; }
.sagd .drawn img { max-width: 560px; }
#message .wrong { background: #b3261e; color: #fff; padding: 7px 12px; border-radius: 6px; font-size: 14px; }
#message .fine { padding: 7px 0; font-size: 13px; opacity: .8; }
.gradio-container:has(#message .wrong) #pictures,
.gradio-container:has(#message .wrong) #lines { opacity: .35; filter: grayscale(1); }
@media (max-width: 800px) { .sagd .charts { grid-template-columns: 1fr; }
  .sagd .row { grid-template-columns: repeat(2, 1fr); } .sagd .way { grid-template-columns: repeat(3, 1fr); } }
"""
)
# A drag over the chart of the spectrum chooses a band: its ends in cycles per sample.
DRAG = """
let from = null, box = null;
const at = event => {
  const share = Math.min(1, Math.max(0, (event.clientX - from.place.left) / from.place.width));
  const low = Math.log(+from.area.dataset.low), high = Math.log(+from.area.dataset.high);
  return {share: share, frequency: Math.exp(low + share * (high - low))};
};
element.addEventListener('pointerdown', event => {
  const area = event.target.closest('[data-drag]');
  if (!area) return;
  event.preventDefault();
  from = {area: area, place: area.getBoundingClientRect()};  // which a new picture may replace
  from.start = at(event);
  box = area.cloneNode();
  box.removeAttribute('data-drag');
  box.style.pointerEvents = 'none';
  box.setAttribute('fill', 'currentColor');
  box.setAttribute('fill-opacity', '.15');
  box.setAttribute('width', 0);
  area.parentNode.insertBefore(box, area);
});
window.addEventListener('pointermove', event => {
  if (!from) return;
  const now = at(event), x = +from.area.getAttribute('x'), width = +from.area.getAttribute('width');
  box.setAttribute('x', x + width * Math.min(now.share, from.start.share));
  box.setAttribute('width', width * Math.abs(now.share - from.start.share));
});
window.addEventListener('pointerup', event => {
  if (!from) return;
  const ends = [from.start, at(event)].sort((a, b) => a.share - b.share);
  box.remove();
  if (ends[1].share - ends[0].share > 0.005)
    trigger('select', {low: ends[0].frequency, high: ends[1].frequency});
  from = null;
});
"""
# A number that was typed beyond a slider's ends stays: Gradio would put the end there when the field is left, and
# not say so to what answers.
TYPED = """
window.addEventListener('blur', event => {
  const field = event.target;
  if (field.matches && field.matches('input[data-testid="number-input"]')) event.stopImmediatePropagation();
}, true);
"""
