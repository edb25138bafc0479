// After the launch: who signed in, whose record is open, which documents there are.
const show = (id, text) => { document.getElementById(id).textContent = text; };

async function list(client) {
  const found = await client.request(`DocumentReference?patient=${client.patient.id}&status=current&_count=50`);
  const rows = document.getElementById("documents");
  rows.replaceChildren();
  for (const { resource } of found.entry || []) {
    const row = rows.insertRow();
    const { text: words, coding: [code = {}] = [] } = resource.type || {};
    const kind = words || code.display || code.code || "";
    for (const text of [(resource.date || "").slice(0, 10), kind, resource.status]) {
      row.insertCell().textContent = text;
    }
  }
  show("state", `${found.total ?? rows.rows.length} documents`);
}

// Signing out takes the tokens back (RFC 7009) and ends the session at the server.
async function signOut(client) {
  const base = client.state.serverUrl.replace(/\/$/, "");
  const known = await (await fetch(`${base}/.well-known/smart-configuration`)).json();
  const openid = await (await fetch(`${known.issuer}/.well-known/openid-configuration`)).json();
  const { refresh_token, access_token, id_token } = client.state.tokenResponse;
  for (const token of [refresh_token, access_token]) {
    if (token) {
      await fetch(known.revocation_endpoint, {
        method: "POST",
        headers: { "Content-Type": "application/x-www-form-urlencoded" },
        body: new URLSearchParams({ token, client_id: client.state.clientId }),
      });
    }
  }
  sessionStorage.clear();
  const after = new URL("index.html", location.href).href;
  const query = new URLSearchParams({ id_token_hint: id_token, post_logout_redirect_uri: after });
  location.assign(`${openid.end_session_endpoint}?${query}`);
}

FHIR.oauth2.ready().then(async (client) => {
  const [user, patient] = await Promise.all([client.user.read(), client.patient.read()]);
  show("user", `Signed in: ${user.resourceType} ${user.name?.[0]?.family || ""}`);
  show("patient", `Person: ${patient.name?.[0]?.family || ""} ${patient.birthDate || ""}`);
  await list(client);
  document.getElementById("refresh").addEventListener("click", async () => {
    await client.refresh();
    await list(client);
    show("state", `refreshed: ${document.getElementById("state").textContent}`);
  });
  document.getElementById("sign-out").addEventListener("click", () => signOut(client));
}).catch((fault) => show("state", `Failed: ${fault.message}`));
