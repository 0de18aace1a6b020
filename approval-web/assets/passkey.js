// The passkey step: asks the server for options, the browser for a credential, the server to check.
// Forms say what they want in their `data-` attributes; without them nothing happens here.

const json = { "Content-Type": "application/json", Accept: "application/json" };

async function call(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", headers: json, body: JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw { key: "offline" };
  }
  if (answer.ok) return answer.status === 204 ? {} : answer.json();
  throw await answer.json().catch(() => ({ key: "offline" }));
}

/** One ceremony: options, credential, finish. `fields` go with both calls. */
async function ceremony(path, kind, fields, shown) {
  const Credential = window.PublicKeyCredential;
  if (!Credential?.parseRequestOptionsFromJSON) throw { key: "unsupported" };
  const options = await call(`${path}/options`, fields);
  if (options.statement && shown) shown.textContent = options.statement;
  let credential;
  try {
    credential =
      kind === "create"
        ? await navigator.credentials.create({ publicKey: Credential.parseCreationOptionsFromJSON(options.publicKey) })
        : await navigator.credentials.get({ publicKey: Credential.parseRequestOptionsFromJSON(options.publicKey) });
  } catch {
    throw { key: "cancelled" };
  }
  await call(`${path}/finish`, { ...fields, credential: credential.toJSON() });
}

function say(form, problem) {
  const place = form.querySelector("[data-trouble]");
  if (!place) return;
  const known = problem.key && place.dataset[problem.key];
  place.textContent = known || [problem.sentence, problem.next].filter(Boolean).join(" ") || place.dataset.offline;
  place.hidden = false;
  place.focus();
}

async function run(form, work) {
  const buttons = form.querySelectorAll("button");
  buttons.forEach((button) => (button.disabled = true));
  form.setAttribute("aria-busy", "true");
  form.querySelector("[data-trouble]")?.setAttribute("hidden", "");
  try {
    await work();
  } catch (problem) {
    say(form, problem);
    buttons.forEach((button) => (button.disabled = false));
  } finally {
    form.removeAttribute("aria-busy");
  }
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.ceremony) {
    event.preventDefault();
    const fields = Object.fromEntries(new FormData(form));
    // The token of an invitation is in the fragment, which is sent to nobody but here.
    if (form.dataset.fragment) fields[form.dataset.fragment] = location.hash.slice(1);
    run(form, async () => {
      const shown = document.querySelector("[data-statement]");
      if ("fresh" in form.dataset) await ceremony("/fresh", "get", {});
      await ceremony(form.dataset.ceremony, form.dataset.kind, fields, shown);
      location.assign(form.dataset.next);
    });
  } else if ("fresh" in form.dataset) {
    event.preventDefault();
    run(form, async () => {
      await ceremony("/fresh", "get", {});
      form.submit();
    });
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  await navigator.clipboard.writeText(button.dataset.copy);
  const before = button.textContent;
  button.textContent = button.dataset.copied;
  setTimeout(() => (button.textContent = before), 2000);
});
