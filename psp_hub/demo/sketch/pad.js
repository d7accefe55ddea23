// What the pad does. gradio runs this with `element`, `trigger` and `props` once the pad is on the page.
//
// A drawing is a list of strokes, drawn anew after each change: so undo gives back the same picture, to the byte.
// props.value is the drawing as the address of a PNG, black on white, or null while there is nothing on the pad. The
// events "edit" and "input" tell that a person changed it: two, for when gradio drops inputs that pile up and then makes
// up for the last one, it repeats all that follows from the event, late.
const SIDE = 512;  // of the picture that is sent, and the unit of all coordinates
const ERASER = {min: 4, max: 64, size: 24}, PEN = {min: 1, max: 12, size: 2};
const find = selector => element.querySelector(selector);
const canvas = find('canvas'), paper = canvas.getContext('2d');
const photo = find('.photo'), file = find('input[type=file]'), size = find('.size'), message = find('.message');
const sent = Object.assign(document.createElement('canvas'), {width: SIDE, height: SIDE});
const picture = sent.getContext('2d', {willReadFrequently: true});
let drawing = null;  // what props.value has to be
let steps = [];  // strokes {erase, width, points}, and {clear: true}
let undone = [];
let stroke = null, pointer = null;
let tools = {pen: {...PEN}, eraser: {...ERASER}}, tool = 'pen';

paper.scale(canvas.width / SIDE, canvas.height / SIDE);
paper.lineCap = paper.lineJoin = 'round';

function draw({erase, width, points}, first = 0) {
  paper.globalCompositeOperation = erase ? 'destination-out' : 'source-over';
  paper.lineWidth = width;
  paper.beginPath();
  paper.moveTo(...points[first]);
  for (let i = first + 1; i < points.length - 1; i++) {  // through the middles, with the points as handles: a smooth line
    const [x, y] = points[i], [next_x, next_y] = points[i + 1];
    paper.quadraticCurveTo(x, y, (x + next_x) / 2, (y + next_y) / 2);
  }
  paper.lineTo(...points.at(-1));
  paper.stroke();
}

function redraw() {
  paper.clearRect(0, 0, SIDE, SIDE);
  const start = steps.findLastIndex(step => step.clear) + 1;
  for (const step of steps.slice(start)) draw(step);
}

function isBlank() {
  return new Uint32Array(picture.getImageData(0, 0, SIDE, SIDE).data.buffer).every(pixel => pixel === 0xffffffff);
}

// At once, lest a button that is pressed next gets the drawing before.
function send() {
  redraw();
  showState();
  picture.fillStyle = 'white';
  picture.fillRect(0, 0, SIDE, SIDE);
  picture.drawImage(canvas, 0, 0, SIDE, SIDE);
  drawing = isBlank() ? null : sent.toDataURL('image/png');
  tell();
}

function tell() {
  props.value = drawing;
  const live = document.querySelector(props.live);
  if (!live && element.isConnected) setTimeout(tell, 100);  // the rest of the page comes later
  if (!live?.checked) return;
  trigger('edit');
  trigger('input');
}

// While the page comes together, gradio may give each part its first value once more, and a stroke would be forgotten.
watch('value', () => { if ((props.value || null) !== drawing) tell(); });

function showState() {
  find('[data-do=undo]').disabled = !steps.length;
  find('[data-do=redo]').disabled = !undone.length;
  find('[data-do=clear]').disabled = !steps.length || Boolean(steps.at(-1).clear);
}

function add(step) {
  steps.push(step);
  undone = [];
  send();
}

function move(from, to) {
  if (!from.length) return;
  to.push(from.pop());
  send();
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * SIDE, (event.clientY - box.top) / box.height * SIDE];
}

canvas.addEventListener('pointerdown', event => {
  if (pointer !== null || event.button !== 0) return;
  pointer = event.pointerId;
  canvas.setPointerCapture(pointer);
  const start = place(event);
  stroke = {erase: tool === 'eraser', width: tools[tool].size, points: [start, start]};
  draw(stroke);
});
canvas.addEventListener('pointermove', event => {
  if (event.pointerId !== pointer) return;
  const events = event.getCoalescedEvents?.() ?? [];
  const first = stroke.points.length - 1;
  stroke.points.push(...(events.length ? events : [event]).map(place));
  draw(stroke, first);  // as soon as possible; when the stroke is done, it is drawn anew, and smoothly
});
canvas.addEventListener('pointerup', event => {
  if (event.pointerId !== pointer) return;
  const finished = stroke;
  pointer = stroke = null;
  add(finished);
});
canvas.addEventListener('pointercancel', event => {  // two fingers: the browser zooms
  if (event.pointerId !== pointer) return;
  pointer = stroke = null;
  redraw();
});

function choose(name) {
  tool = name;
  for (const button of element.querySelectorAll('[data-tool]')) {
    button.setAttribute('aria-pressed', String(button.dataset.tool === name));
  }
  size.min = tools[name].min;
  size.max = tools[name].max;
  size.value = tools[name].size;
}

function trace(source) {
  URL.revokeObjectURL(photo.src);
  message.textContent = '';
  photo.hidden = !source;
  find('.dimming').hidden = !source;
  find('[data-do=choose]').hidden = Boolean(source);
  if (source) photo.src = source; else photo.removeAttribute('src');
}

const actions = {
  undo: () => move(steps, undone),
  redo: () => move(undone, steps),
  clear: () => add({clear: true}),
  choose: () => file.click(),
  remove: () => trace(null),
  show: () => document.querySelector(props.face)?.scrollIntoView({behavior: 'smooth', block: 'center'}),
};

element.addEventListener('click', event => {
  const button = event.target.closest('button');
  if (button?.dataset.tool) choose(button.dataset.tool);
  if (button?.dataset.do) actions[button.dataset.do]();
});
size.addEventListener('input', () => { tools[tool].size = Number(size.value); });

// The photo to trace never leaves the browser.
file.addEventListener('change', () => {
  if (file.files.length) trace(URL.createObjectURL(file.files[0]));
  file.value = '';
});
photo.addEventListener('error', () => {
  if (!photo.hasAttribute('src')) return;
  trace(null);
  message.textContent = 'This browser cannot show that file. Take a JPEG or PNG picture.';
});
find('.dim').addEventListener('input', event => { photo.style.opacity = event.target.value; });
photo.style.opacity = find('.dim').value;

// On a phone the face is out of sight while one draws: a small copy of it is beside the sliders.
function watchFace() {
  const face = document.querySelector(props.face), small = find('.small-face');
  if (!face) return element.isConnected && setTimeout(watchFace, 100);  // the rest of the page comes later
  const copy = () => {
    const source = face.querySelector('img')?.src;
    small.hidden = !source;
    if (source) small.querySelector('img').src = source;
  };
  new MutationObserver(copy).observe(face, {childList: true, subtree: true, attributeFilter: ['src']});
}
watchFace();

// Undo and redo from the keyboard, unless somebody writes.
function press(event) {
  if (!element.isConnected) return document.removeEventListener('keydown', press);
  const typing = event.target.closest?.('input:not([type=range], [type=checkbox], [type=radio]), textarea, [contenteditable]');
  if (!(event.ctrlKey || event.metaKey) || event.altKey || typing || !canvas.offsetParent) return;
  const key = event.key.toLowerCase();
  const action = key === 'z' ? (event.shiftKey ? 'redo' : 'undo') : key === 'y' ? 'redo' : null;
  if (action === null || stroke) return;
  event.preventDefault();
  actions[action]();
}
document.addEventListener('keydown', press);
