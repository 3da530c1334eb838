// Times in the reader's own zone, a banner that is spoken once and not every few seconds, and an alarm of its own
// when the server does not answer: then nothing on the page can be trusted to be up to date.
"use strict";

const SILENT_MILLISECONDS = 10000;

// Measured by a clock that nobody sets: the one on the wall of this machine may be put right at any moment.
let heardAt = performance.now();
let patientFrom = heardAt; // a page in the background asks less often: one that comes to the front is given time
let shown = null;

function localTimes(place) {
  const today = new Date().toDateString();
  for (const time of place.querySelectorAll("time[data-local]")) {
    const at = new Date(time.dateTime);
    if (Number.isNaN(at.getTime())) {
      continue;
    }
    const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
    time.textContent = at.toDateString() === today ? clock : `${at.toLocaleDateString("sv-SE")} ${clock}`;
    time.title = time.dateTime;
    time.removeAttribute("data-local");
  }
}

function sayStale() {
  const place = document.getElementById("banner");
  if (!place || document.hidden || performance.now() - patientFrom < SILENT_MILLISECONDS || document.getElementById("stale")) {
    return;
  }
  const line = document.createElement("p");
  line.id = "stale";
  line.className = "banner";
  const heard = new Date(Date.now() - (performance.now() - heardAt));
  const since = heard.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
  line.textContent = `This page is out of date since ${since}: the server does not answer. `
    + "New studies and flags do not appear here: read in the usual order.";
  place.replaceChildren(line); // what was said before may be as old as the page
  shown = null;
}

document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "banner" || event.detail.xhr.status !== 200) {
    return;
  }
  heardAt = performance.now();
  patientFrom = heardAt;
  const answer = event.detail.serverResponse;
  if (answer === shown && !document.getElementById("stale")) {
    event.detail.shouldSwap = false; // swapping the same words again would have them read out again
  }
  shown = answer;
});

document.addEventListener("htmx:afterSettle", (event) => localTimes(event.detail.target || document));
document.addEventListener("DOMContentLoaded", () => localTimes(document));
document.addEventListener("visibilitychange", () => {
  patientFrom = Math.max(patientFrom, performance.now() - SILENT_MILLISECONDS / 2);
});
setInterval(sayStale, 1000);
