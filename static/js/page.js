// What every page needs: words for requests that fail, so that no click ends in silence, and no questions of a page that
// nobody looks at.
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  if (document.hidden && !requestConfig.triggeringEvent && elt.getAttribute("hx-trigger")?.startsWith("every ")) event.preventDefault();
});

const say = (xhr) => {
  const place = document.getElementById("messages");
  if (!place) return;
  const note = document.createElement("p");
  note.className = "alert alert-error alert-soft mb-4 text-base-content";
  // Plain text is the server's own words (config.views.explain); anything else comes from who knows where.
  const explained = xhr.getResponseHeader("Content-Type")?.startsWith("text/plain") && xhr.responseText;
  note.textContent = explained || `${place.dataset.failed} (${xhr.status})`;
  place.replaceChildren(note);
};

document.addEventListener("htmx:responseError", (event) => {
  if (event.defaultPrevented || event.detail.xhr.status === 286) return;
  say(event.detail.xhr);
});
