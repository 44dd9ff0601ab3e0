const place = document.getElementById("chart");
const figure = JSON.parse(place.dataset.figure);
Plotly.newPlot(place, figure.data, figure.layout, { displaylogo: false, responsive: true });
