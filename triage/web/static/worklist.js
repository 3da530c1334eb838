// The worklist: stays up to date, counts the waiting time, moves by the keyboard, and calls for a new suspicion.
"use strict";

(() => {
  const rows = document.getElementById("rows");
  const lost = document.getElementById("lost");
  const announced = document.getElementById("announced");
  const SILENT_AFTER = 8000; // the server says every three seconds that it is there
  const POLL_EVERY = 5000;
  // Moments are measured by a clock that nobody sets: the one on the wall of this machine may be wrong, or be put right.
  const clock = () => performance.now();
  let heardAt = clock();
  let rowsAt = clock();
  let askedAt = -POLL_EVERY;
  let owedSince = null; // since when new rows have been asked for in vain

  // Waiting time, by the clock of the server.
  let ahead = 0;
  function readClock() {
    ahead = Date.parse(document.getElementById("as-of").dataset.now) - clock();
  }
  function words(seconds) {
    const s = Math.max(0, Math.floor(seconds));
    const minutes = Math.floor(s / 60);
    const hours = Math.floor(minutes / 60);
    const days = Math.floor(hours / 24);
    if (days) return `${days} d ${hours % 24} h`;
    if (hours) return `${hours} h ${String(minutes % 60).padStart(2, "0")} min`;
    return minutes ? `${minutes} min ${String(s % 60).padStart(2, "0")} s` : `${s} s`;
  }
  function count() {
    const now = clock() + ahead;
    for (const time of rows.querySelectorAll("time[data-since]")) {
      time.textContent = words((now - Date.parse(time.dataset.since)) / 1000);
    }
  }

  // The connection. A list that stands still must not look alive.
  function heard() {
    heardAt = clock();
  }
  document.addEventListener("htmx:sseOpen", (event) => {
    const source = event.detail.source;
    becomeCaller();
    for (const name of ["beat", "worklist"]) source.addEventListener(name, heard);
    source.addEventListener("suspected", (message) => {
      heard();
      call(JSON.parse(message.data).studies);
    });
  });
  function watch() {
    const now = clock();
    const streaming = now - heardAt < SILENT_AFTER;
    const owed = owedSince !== null && now - owedSince > SILENT_AFTER;
    const fresh = !owed && (streaming || now - rowsAt < 2 * POLL_EVERY);
    // After a failure, without a stream, and for what only grows old: deliveries, and what leaves the list.
    if (now - askedAt > POLL_EVERY && (owedSince !== null || !streaming || now - rowsAt > 30000)) ask();
    rows.classList.toggle("stale", !fresh);
    if (fresh) {
      lost.hidden = true;
    } else if (lost.hidden) {
      const since = new Date((owed ? owedSince : Math.max(heardAt, rowsAt)) + ahead);
      const time = since.toLocaleTimeString([], { hour12: false });
      lost.textContent = streaming
        ? `The server has not sent the list since ${time}. It stands still: new studies do not appear on it.`
        : `Connection lost since ${time}. This list stands still: new studies do not appear on it.`;
      lost.hidden = false;
    }
  }
  function ask() {
    askedAt = clock();
    htmx.trigger(rows, "refresh");
  }

  // New rows: the focus stays on its study, and what is being read stays where it is.
  let anchor = null;
  rows.addEventListener("htmx:beforeRequest", () => {
    if (owedSince === null) owedSince = clock();
  });
  rows.addEventListener("htmx:beforeSwap", () => {
    const focused = document.activeElement && document.activeElement.closest("#rows .open");
    const shown = [...rows.querySelectorAll(".open")];
    const kept = focused || (window.scrollY > 0 ? shown.find((link) => top(link) > 0) : null);
    anchor = kept ? { id: kept.id, top: top(kept), focus: Boolean(focused) } : null;
  });
  rows.addEventListener("htmx:afterSwap", () => {
    rowsAt = clock();
    owedSince = null;
    readClock();
    count();
    const kept = anchor && document.getElementById(anchor.id);
    if (!kept) return;
    if (anchor.focus) kept.focus({ preventScroll: true });
    window.scrollBy(0, top(kept) - anchor.top);
  });
  // The line about the connection tells it; the next answer may be good again.
  rows.addEventListener("htmx:responseError", (event) => event.stopPropagation());
  function top(element) {
    return element.getBoundingClientRect().top;
  }

  // Keys.
  const help = document.getElementById("help");
  const keys = document.getElementById("keys");
  function toggleHelp() {
    keys.hidden = !keys.hidden;
    help.setAttribute("aria-expanded", String(!keys.hidden));
  }
  function move(step) {
    const links = [...rows.querySelectorAll(".open")];
    const at = links.indexOf(document.activeElement);
    const next = links[at < 0 ? (step > 0 ? 0 : links.length - 1) : Math.min(links.length - 1, Math.max(0, at + step))];
    if (next) {
      next.focus({ preventScroll: true });
      next.closest("li").scrollIntoView({ block: "nearest" });
    }
  }
  const ACTIONS = {
    j: () => move(1),
    ArrowDown: () => move(1),
    k: () => move(-1),
    ArrowUp: () => move(-1),
    "/": () => document.getElementById("q").focus(),
    "?": toggleHelp,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea, summary")) {
      if (event.key === "Escape") event.target.blur();
      return;
    }
    const action = ACTIONS[event.key];
    if (action) {
      event.preventDefault();
      action();
    }
  });
  help.hidden = false;
  help.addEventListener("click", toggleHelp);

  // A call for a new suspicion: only where it was asked for, and without saying who the patient is.
  const button = document.getElementById("notify");
  const WANTED = "ich-triage.notify";
  // Of flags, not of studies: one whose suspicion had gone is called again when it is back.
  const told = new Set(document.getElementById("live").dataset.flagged.split(" ")); // what stood there already
  let sound = null;
  function wanted() {
    return localStorage.getItem(WANTED) === "yes";
  }
  function mayShow() {
    return "Notification" in window && Notification.permission === "granted";
  }
  function sounds() {
    return sound !== null && sound.state === "running";
  }
  function showButton() {
    const words = !sounds() ? "No sound until a click" : mayShow() ? "Notifying" : "Sound only";
    button.hidden = false;
    button.setAttribute("aria-pressed", String(wanted()));
    button.textContent = wanted() ? words : "Notify me";
  }
  function readySound() {
    if (sound === null) {
      sound = new AudioContext();
      sound.addEventListener("statechange", showButton);
    }
    return sound.resume();
  }
  function play() {
    if (!sounds()) return;
    for (const [after, pitch] of [[0, 880], [0.18, 1175], [0.36, 880]]) {
      const tone = sound.createOscillator();
      const volume = sound.createGain();
      const start = sound.currentTime + after;
      tone.frequency.value = pitch;
      volume.gain.setValueAtTime(0.0001, start);
      volume.gain.exponentialRampToValueAtTime(0.3, start + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, start + 0.16);
      tone.connect(volume).connect(sound.destination);
      tone.start(start);
      tone.stop(start + 0.17);
    }
  }
  button.addEventListener("click", async () => {
    localStorage.setItem(WANTED, wanted() && sounds() ? "no" : "yes");
    showButton();
    if (!wanted()) return;
    await readySound();
    play();
    if ("Notification" in window && Notification.permission === "default") await Notification.requestPermission();
    showButton();
  });
  // Most browsers let a page sound only after somebody has touched it, or the page before it.
  if (wanted()) readySound();
  for (const touched of ["pointerdown", "keydown"]) {
    document.addEventListener(touched, (event) => {
      if (wanted() && !button.contains(event.target)) readySound();
    });
  }

  function call(flags) {
    const fresh = flags.filter((flag) => !told.has(flag));
    if (!fresh.length) return;
    fresh.forEach((flag) => told.add(flag));
    const text = fresh.length === 1 ? "A new suspected study is on the list." : `${fresh.length} new suspected studies are on the list.`;
    announced.textContent = text;
    document.title = `(${fresh.length} new) Worklist - ich-triage`;
    if (wanted() && caller) {
      play();
      notify(fresh, text);
    }
  }
  // Of several open lists one calls, as long as it is open; on a plain connection browsers cannot tell, and each does.
  let caller = !navigator.locks;
  let queued = caller;
  function becomeCaller() {
    if (queued) return;
    queued = true;
    navigator.locks.request("ich-triage.caller", () => {
      caller = true;
      return new Promise(() => {});
    });
  }
  function notify(flags, text) {
    if (!mayShow()) return;
    const note = new Notification("ich-triage", { body: text, tag: "ich-triage-suspected", renotify: true, requireInteraction: true });
    note.onclick = () => {
      window.focus();
      window.location.href = flags.length === 1 ? `/study/${flags[0].split("@")[0]}` : "/";
    };
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) document.title = "Worklist - ich-triage";
  });

  // A choice in the filters needs no further click.
  for (const select of document.querySelectorAll(".list-filters select")) {
    select.addEventListener("change", () => select.form.requestSubmit());
  }

  readClock();
  count();
  showButton();
  window.setInterval(count, 1000);
  window.setInterval(watch, 1000);
})();
