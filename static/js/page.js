// What every page needs: words for requests that fail, so that no click ends in silence.
const say = (status) => {
  const place = document.getElementById("messages");
  if (!place) return;
  const note = document.createElement("p");
  note.className = "alert alert-error alert-soft mb-4 text-base-content";
  note.textContent = `${place.dataset.failed} (${status})`;
  place.replaceChildren(note);
};

document.addEventListener("htmx:responseError", (event) => {
  if (event.defaultPrevented || event.detail.xhr.status === 286) return;
  say(event.detail.xhr.status);
});
