"use strict";

// The page only describes the interface. Requests that change something are signed with a secret that belongs on a
// server and not in a browser, so nothing can be sent from here.
const withoutAuthorization = () => ({
  wrapComponents: { authorizeBtn: () => () => null, authorizeOperationBtn: () => () => null },
});

window.ui = SwaggerUIBundle({
  url: "/v1/openapi.json",
  dom_id: "#reference",
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: -1,
  defaultModelRendering: "example",
  supportedSubmitMethods: [],
  validatorUrl: null,
  plugins: [withoutAuthorization],
});
