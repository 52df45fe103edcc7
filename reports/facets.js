// The choice of a part of the streams: its figures take the place of those of all streams.
(() => {
  "use strict";
  const choice = document.getElementById("part");
  const parts = [...document.querySelectorAll("template.part")];
  const told = document.querySelector(".chosen");
  const places = [...document.querySelectorAll("[data-switched]")];
  const ofAll = places.map((place) => [...place.childNodes]);

  const show = () => {
    const part = choice.value === "" ? null : parts[Number(choice.value)];
    places.forEach((place, number) => {
      const chosen = part && part.content.querySelector(`[data-switched="${place.dataset.switched}"]`);
      place.replaceChildren(...(chosen ? chosen.cloneNode(true).childNodes : ofAll[number]));
    });
    told.textContent = part ? `${part.dataset.told} The verdict, the rules and the charts further below are of all streams.` : "";
  };
  choice.addEventListener("change", show);
  document.querySelectorAll(".choice").forEach((one) => { one.hidden = false; });
  document.querySelector('a[href="#part"]')?.addEventListener("click", (event) => {
    event.preventDefault();
    choice.scrollIntoView({ block: "center" });
    choice.focus();
  });
  if (choice.value) show(); // a browser keeps the choice when it loads the page again
})();
