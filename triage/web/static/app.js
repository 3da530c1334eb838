// What every page needs: an answer that is an error is said aloud, and forms ask before what cannot be undone.
"use strict";

document.addEventListener("htmx:responseError", (event) => {
  const answer = event.detail.xhr;
  if (answer.status === 401 || event.detail.elt.id === "banner") {
    return; // the page is on its way to the login, or the next banner will tell
  }
  say(answer.responseText && answer.responseText.length < 300 ? answer.responseText : "This did not work.");
});

// What a page asks for by itself is asked again; what a person did is not done, and they must know.
for (const failure of ["htmx:sendError", "htmx:timeout"]) {
  document.addEventListener(failure, (event) => {
    if (event.detail.requestConfig.verb !== "get") {
      say("The server did not answer: this was not done.");
    }
  });
}

document.addEventListener("submit", (event) => {
  const question = event.target.dataset.ask;
  if (question && !window.confirm(question)) {
    event.preventDefault();
  }
});

function say(text) {
  let place = document.getElementById("said");
  if (!place) {
    place = document.createElement("p");
    place.id = "said";
    place.className = "problem";
    place.setAttribute("role", "alert");
    document.getElementById("content").prepend(place);
  }
  if (place.textContent !== text) {
    place.textContent = text;
    place.scrollIntoView({ block: "nearest" });
  }
}
