// Standalone launch: the app knows the server and asks for a patient to be chosen.
document.getElementById("start").addEventListener("click", () => {
  FHIR.oauth2.authorize({
    iss: CONFIG.iss,
    clientId: CONFIG.clientId,
    scope:
      "launch/patient openid fhirUser offline_access user/Practitioner.r " +
      "patient/Patient.rs patient/DocumentReference.rs",
    redirectUri: "app.html",
  });
});
