"use strict";
const events = new EventSource("events");
events.onmessage = (event) => {
  document.getElementById("stations").textContent = JSON.stringify(JSON.parse(event.data), null, 1);
};
