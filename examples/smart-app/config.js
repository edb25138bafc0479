// Where the exchange is and who this app is. `throughline clients add` (see README.md) prints the id.
const CONFIG = {
  iss: "http://127.0.0.1:8080/fhir",
  clientId: "smart-app",
};
