// plotly's widget, loaded once for all figures of a page. anywidget gives a widget two seconds to load and drops what the
// kernel tells it later; plotly's 5 MB take longer on a busy machine, and its figures then stayed empty. This file is
// there at once, waits for plotly, and hands over.
const plotly = (model) =>
  (globalThis.plotlyOfThisPage ??= import(
    URL.createObjectURL(new Blob([model.get("_bundle")], { type: "text/javascript" }))
  ));

export default () => {
  let figure;
  return {
    initialize({ model }) {
      figure = plotly(model).then((loaded) => {
        const own = loaded.default();
        own.initialize({ model });
        return own;
      });
    },
    async render(shown) {
      return (await figure).render(shown);
    },
  };
};
