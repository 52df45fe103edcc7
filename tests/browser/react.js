/**
 * As much of React as the hook's test needs: the four hooks that it uses, with React's rules. State changes are batched
 * into one render; effects run after it, and twice at first, as in React's strict mode.
 */

let current = null; // the component that is being rendered

export function mount(component) {
  const mounted = { component, slots: [], at: 0, pending: false, results: [], gone: false };
  render(mounted);
  const effects = () => mounted.slots.filter((slot) => slot.effect);
  const start = () => effects().forEach((slot) => (slot.cleanUp = slot.effect()));
  const end = () => effects().forEach((slot) => slot.cleanUp?.());
  start();
  end();
  start();
  mounted.unmount = () => {
    mounted.gone = true;
    end();
  };
  return mounted;
}

function render(mounted) {
  if (mounted.gone) return;
  Object.assign(mounted, { pending: false, at: 0 });
  current = mounted;
  mounted.result = mounted.component();
  mounted.results.push(mounted.result);
  current = null;
}

function slot(make) {
  return (current.slots[current.at++] ??= make());
}

export function useState(initial) {
  const mounted = current;
  const state = slot(() => {
    const made = { value: initial };
    made.set = (value) => {
      made.value = value;
      if (mounted.pending) return;
      mounted.pending = true;
      queueMicrotask(() => render(mounted));
    };
    return made;
  });
  return [state.value, state.set];
}

export function useRef(initial) {
  return slot(() => ({ current: initial }));
}

export function useCallback(callback, needs) {
  const memory = slot(() => ({ callback, needs }));
  if (memory.needs.some((need, index) => need !== needs[index])) Object.assign(memory, { callback, needs });
  return memory.callback;
}

export function useEffect(effect) {
  slot(() => ({ effect })); // its needs never change here
}
