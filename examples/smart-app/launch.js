// Launch from another system: `iss` and `launch` are in the address. Only the server we know is taken,
// or a stranger could send the app, and what is typed into it, to a server of theirs.
const told = new URLSearchParams(location.search).get("iss") || "";
if (told.replace(/\/$/, "") !== CONFIG.iss.replace(/\/$/, "")) {
  document.body.textContent = "This app was launched by a server it does not know.";
} else {
  FHIR.oauth2.authorize({
    clientId: CONFIG.clientId,
    scope:
      "launch openid fhirUser online_access user/Practitioner.r user/Patient.rs user/DocumentReference.rs",
    redirectUri: "app.html",
  });
}
