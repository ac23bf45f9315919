// validatorUrl: null keeps the page from calling a validator on the internet
SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null });
