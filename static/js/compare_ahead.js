// The next pair, fetched while this one is read, so that it stands there as soon as the answer is on its way. Until the
// server has handed it out it is a guess: the reply confirms it by showing the very same texts, or takes its place.

let fetched = null; // {token, ticket, html}: what follows the pair of this token

const parse = (html) => {
  const template = document.createElement("template");
  template.innerHTML = html;
  return template.content;
};

/** Asks what will follow the pair on the desk; quietly nothing where that fails. */
export const fetchAhead = async ({ token, ahead }) => {
  if (!token || !ahead || fetched?.token === token) return;
  const reply = await fetch(`${ahead}?token=${token}`).catch(() => null);
  const ticket = reply?.headers.get("X-Compare-Ahead");
  if (ticket) fetched = { token, ticket, html: await reply.text() };
};

/** What was fetched for this token, once; null where nothing was. */
export const takeAhead = (token) => {
  const found = fetched?.token === token ? fetched : null;
  fetched = null;
  return found;
};

export const showAhead = (body, { html }) => {
  body.replaceChildren(parse(html));
  window.htmx.process(body);
};

/** Shows the server's desk. Where it has the pair that stands there already, only what is around it changes; says so. */
export const settle = (desk, { html }, reply) => {
  const told = parse(reply).querySelector("#desk");
  const read = (place) => place.querySelector("#shown-pair")?.innerHTML;
  if (read(told) !== read(parse(html))) {
    desk.replaceWith(told);
    window.htmx.process(told);
    return false;
  }
  for (const name of ["token", "announce", "draft"]) desk.dataset[name] = told.dataset[name];
  for (const field of desk.querySelectorAll("#desk-body input[name=token]")) field.value = told.dataset.token;
  for (const id of ["desk-bar", "desk-notes"]) {
    const part = told.querySelector(`#${id}`);
    document.getElementById(id).replaceWith(part);
    window.htmx.process(part);
  }
  return true;
};
