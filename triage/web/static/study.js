// The viewer of a study page: one picture at a time, its neighbours fetched beforehand, and keys for everything.
"use strict";

const viewer = document.getElementById("viewer");
const FIVE = 5;
const AHEAD = 3;
const SCROLLS = /^(Arrow|Page|Home|End)/;

if (viewer) {
  const picture = document.getElementById("slice");
  const slider = document.getElementById("slider");
  const last = Number(viewer.dataset.last);
  const key = viewer.dataset.key === "" ? null : Number(viewer.dataset.key);
  const places = [...viewer.querySelectorAll("[data-jump]")];
  const state = {
    index: Number(viewer.dataset.index),
    window: viewer.dataset.window,
    outline: viewer.dataset.outline === "1",
  };
  const fetched = new Map();

  const address = (index) =>
    `${viewer.dataset.base}${index}.png?window=${state.window}&outline=${state.outline ? 1 : 0}&v=${viewer.dataset.version}`;

  // Kept so that the browser neither drops nor fetches them again while the reader scrolls.
  const prefetch = (index) => {
    const wanted = address(index);
    if (!fetched.has(wanted)) {
      const image = new Image();
      image.src = wanted;
      fetched.set(wanted, image);
      if (fetched.size > 200) {
        fetched.delete(fetched.keys().next().value);
      }
    }
  };

  const words = () => {
    const place = places[state.index];
    const marks = place.dataset.marks;
    const name = viewer.querySelector(`[data-window="${state.window}"]`).dataset.window;
    document.getElementById("place-number").textContent = state.index + 1;
    document.getElementById("place-key").hidden = state.index !== key;
    document.getElementById("place-score").textContent = place.dataset.score ? `probability ${place.dataset.score}` : "";
    document.getElementById("place-marks").textContent = marks ? `outlined: ${marks}` : "";
    const outlined = marks ? `, outlined: ${marks}` : "";
    picture.alt = `Slice ${state.index + 1} of ${last + 1}, ${name} window${state.outline ? outlined : ""}`;
    slider.setAttribute("aria-valuetext", `slice ${state.index + 1} of ${last + 1}${outlined}`);
  };

  const show = () => {
    picture.src = address(state.index);
    slider.value = state.index;
    places.forEach((place, index) => place.classList.toggle("now", index === state.index));
    words();
    const page = new URLSearchParams({ slice: state.index, window: state.window, outline: state.outline ? 1 : 0 });
    history.replaceState(null, "", `${location.pathname}?${page}`);
    for (let step = 1; step <= AHEAD; step += 1) {
      for (const index of [state.index + step, state.index - step]) {
        if (index >= 0 && index <= last) {
          prefetch(index);
        }
      }
    }
  };

  const go = (index) => {
    const there = Math.min(last, Math.max(0, index));
    if (there !== state.index) {
      state.index = there;
      show();
    }
  };

  const setWindow = (name) => {
    state.window = name;
    viewer.querySelectorAll("[data-window]").forEach((link) => {
      if (link.dataset.window === name) {
        link.setAttribute("aria-current", "true");
      } else {
        link.removeAttribute("aria-current");
      }
    });
    show();
  };

  const toggleOutline = () => {
    const label = document.getElementById("outline-words");
    if (label) {
      state.outline = !state.outline;
      label.textContent = `${state.outline ? "Hide" : "Show"} outline`;
      show();
    }
  };

  const steps = {
    first: () => go(0),
    previous: () => go(state.index - 1),
    key: () => go(key ?? state.index),
    next: () => go(state.index + 1),
    last: () => go(last),
  };

  viewer.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    if (link.dataset.window) {
      setWindow(link.dataset.window);
    } else if (link.dataset.toggle) {
      toggleOutline();
    } else if (link.dataset.step) {
      steps[link.dataset.step]();
    } else if (link.dataset.jump) {
      go(Number(link.dataset.jump));
    }
  });

  slider.closest("label").hidden = false;
  slider.addEventListener("input", () => go(Number(slider.value)));

  // A touchpad sends many small turns for one; a wheel sends one large one.
  let turned = 0;
  picture.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      turned += event.deltaMode === WheelEvent.DOM_DELTA_PIXEL ? event.deltaY / 60 : event.deltaY;
      const whole = Math.trunc(turned);
      if (whole !== 0) {
        turned -= whole;
        go(state.index - Math.max(-FIVE, Math.min(FIVE, whole)));
      }
    },
    { passive: false },
  );

  const onKey = {
    ArrowUp: () => go(state.index + 1),
    ArrowDown: () => go(state.index - 1),
    ArrowRight: () => go(state.index + 1),
    ArrowLeft: () => go(state.index - 1),
    k: () => go(state.index + 1),
    j: () => go(state.index - 1),
    PageUp: () => go(state.index + FIVE),
    PageDown: () => go(state.index - FIVE),
    Home: () => go(0),
    End: () => go(last),
    0: steps.key,
    1: () => setWindow("brain"),
    2: () => setWindow("subdural"),
    3: () => setWindow("bone"),
    o: toggleOutline,
  };

  document.addEventListener("keydown", (event) => {
    if (keyIsFree(event) && onKey[event.key]) {
      event.preventDefault();
      onKey[event.key]();
    }
  });

  show();
}

const VERDICTS = { a: "agree", p: "partly", d: "disagree" };

document.addEventListener("keydown", (event) => {
  if (!keyIsFree(event) || event.repeat) {
    return;
  }
  if (event.key === "Escape") {
    location.assign("/");
  } else if (event.key === "?") {
    const keys = document.getElementById("keys");
    keys.open = !keys.open;
    keys.querySelector("summary").focus();
  } else if (VERDICTS[event.key]) {
    document.querySelector(`#reading button[value="${VERDICTS[event.key]}"]`)?.click();
  }
});

// Other parts are swapped too, the banner every few seconds: only who has just judged is taken to what was judged.
document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "reading") {
    document.getElementById("reading").focus();
  }
});

function keyIsFree(event) {
  const place = event.target;
  const typing = place.closest && place.closest("textarea, select, dialog, input:not([type=range])");
  // A wide table is scrolled by the keys that turn the slices elsewhere.
  const scrolling = SCROLLS.test(event.key) && place.closest && place.closest(".scroll");
  return !typing && !scrolling && !event.ctrlKey && !event.metaKey && !event.altKey && !event.defaultPrevented;
}
