"""The style sheet of the reports: from a phone of 320 pixels to a desk, by day and by night."""

STYLE = """
:root{color-scheme:light dark;
 --page:#f6f7f9;--card:#fff;--text:#1f242c;--soft:#626b79;--rule:#e3e6eb;--grid:#e9ecf0;
 --good:26,140,96;--bad:207,74,48;--chip:#eceff4;--accent:#c2521d;
 --c0:#3b4a66;--c1:#d9622b;--c2:#16866a;--c3:#7d4fc4;--c4:#c0356b;--c5:#0f86a8;--c6:#94700f;--c7:#5c7d1e}
@media(prefers-color-scheme:dark){:root{
 --page:#14171c;--card:#1c2027;--text:#e4e7ec;--soft:#98a2b1;--rule:#2d333d;--grid:#2a303a;
 --good:58,178,130;--bad:230,104,76;--chip:#2a303a;--accent:#f0905c;
 --c0:#a9b8d6;--c1:#f0905c;--c2:#4fc9a2;--c3:#b493f0;--c4:#f07aa6;--c5:#58c4e0;--c6:#d9b451;--c7:#a3c75a}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);
 font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;
 -webkit-text-size-adjust:100%}
main{max-width:1180px;margin:0 auto;padding:20px 16px 48px}
header{display:flex;flex-wrap:wrap;align-items:center;gap:4px 14px;margin:6px 0 14px}
h1{font-size:26px;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:18px;margin:0 0 10px}
h3{font-size:14px;margin:18px 0 6px;color:var(--soft);font-weight:600}
section{background:var(--card);border:1px solid var(--rule);border-radius:12px;
 padding:16px 18px 18px;margin:14px 0}
.badge{border-radius:99px;padding:2px 11px;font-size:13px;font-weight:600;
 background:rgba(var(--good),.15);color:rgb(var(--good))}
.badge.open{background:rgba(var(--bad),.15);color:rgb(var(--bad))}
.note{color:var(--soft);font-size:13.5px;margin:6px 0;max-width:78ch}
.soft{color:var(--soft)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(136px,1fr));gap:10px}
.tile{background:var(--card);border:1px solid var(--rule);border-radius:12px;padding:10px 14px}
.tile b{display:block;font-size:22px;line-height:1.25;font-weight:650;
 font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.tile span{display:block;color:var(--soft);font-size:13px;line-height:1.35}
.tile.first b{font-size:32px;line-height:1.1;color:var(--accent)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr));gap:18px 30px}
.scroll{overflow-x:auto}
table{border-collapse:collapse;min-width:min(100%,360px);font-size:14px}
th{font-weight:600;color:var(--soft);font-size:13px}
th,td{text-align:left;padding:5px 16px 5px 0;border-bottom:1px solid var(--rule);
 vertical-align:top}
tr:last-child td{border-bottom:0}
td:last-child,th:last-child{padding-right:0}
.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.path{font:13px/1.5 ui-monospace,SFMono-Regular,Menlo,"DejaVu Sans Mono",monospace;
 white-space:nowrap}
.column{display:none}
details{margin-top:10px}
summary{cursor:pointer;color:var(--soft);font-size:14px}
.key{margin-left:12px;white-space:nowrap;color:var(--text)}
.key::before,.chip::before{content:"";display:inline-block;width:14px;height:3px;
 border-radius:2px;margin-right:6px;vertical-align:middle;background:currentColor}
.key.faint{opacity:.55}
.chip{white-space:nowrap;font-weight:600}.chip b{color:var(--text)}
figure{margin:0;min-width:0}
figcaption{display:flex;flex-wrap:wrap;align-items:baseline;gap:0 4px;font-size:13.5px;
 margin-bottom:13px}
.legend{margin-left:auto;font-size:12.5px}
.legend .key{margin-left:10px}
.legend.shared{display:block;margin:-4px 0 10px -10px;font-size:13.5px}
.legend.shared .key{white-space:normal;display:inline-block}
.aside{margin-left:8px;color:var(--accent);font-weight:650}
.plot{display:grid;grid-template-columns:3.7em 1fr;grid-template-rows:210px 1.5em;font-size:12px;
 color:var(--soft);font-variant-numeric:tabular-nums;margin-right:10px}
.plot.low{grid-template-rows:120px 1.5em}
.plot svg{width:100%;height:100%;overflow:visible;border-bottom:1px solid var(--soft)}
.values,.steps{position:relative}
.values span{position:absolute;right:8px;transform:translateY(50%);line-height:1}
.steps{grid-column:2}
.steps span{position:absolute;top:5px;transform:translateX(-50%);line-height:1}
svg *{vector-effect:non-scaling-stroke;fill:none;stroke-linejoin:round}
svg .grid{stroke:var(--grid);stroke-width:1}
svg .mark{stroke:var(--soft);stroke-width:1;stroke-dasharray:3 3}
svg polyline{stroke:currentColor;stroke-width:2}
svg polyline.faint{stroke-width:1;opacity:.35}
svg polyline.level{stroke-width:1.5;stroke-dasharray:2 4;stroke-linecap:round}
svg polyline.dashed{stroke-dasharray:6 4}
svg .dot{stroke:currentColor;stroke-width:6.5;stroke-linecap:round}
.c0{color:var(--c0)}.c1{color:var(--c1)}.c2{color:var(--c2)}.c3{color:var(--c3)}
.c4{color:var(--c4)}.c5{color:var(--c5)}.c6{color:var(--c6)}.c7{color:var(--c7)}
.matrix{table-layout:fixed;width:100%;max-width:620px;border-collapse:separate;border-spacing:2px;
 font-variant-numeric:tabular-nums}
.matrix th,.matrix td{border:0;padding:0;text-align:center;vertical-align:middle;height:30px;
 font-size:13px;overflow:hidden;white-space:nowrap;border-radius:4px}
.matrix th.name{text-align:right;padding-right:8px;text-overflow:ellipsis}
.matrix td.none{background:var(--grid);opacity:.5}
.matrix td.right{background:rgba(var(--good),var(--share))}
.matrix td.wrong{background:rgba(var(--bad),var(--share))}
.matrix td.rate{color:var(--soft);padding-left:6px;text-align:right}
td:has(>.bar){white-space:nowrap}
.bar{display:inline-block;width:90px;height:8px;border-radius:4px;background:var(--grid);
 vertical-align:middle;margin-right:8px;overflow:hidden}
.bar i{display:block;height:100%;background:rgb(var(--good))}
.cards{display:grid;grid-template-columns:repeat(auto-fill,minmax(max(98px,14%),1fr));gap:14px 12px}
.card{font-size:13px;line-height:1.4;min-width:0;overflow-wrap:anywhere}
.picture{display:block;width:100%;height:auto;border-radius:6px;background:#000}
.picture.pixels{image-rendering:pixelated}
.card .picture{margin-bottom:5px;aspect-ratio:1;object-fit:contain}
.cards.wide,.by-class{grid-template-columns:repeat(auto-fill,minmax(min(100%,250px),1fr))}
.cards.wide .picture{aspect-ratio:auto}
.by-class{display:grid;gap:10px 18px}.by-class>div{min-width:0;overflow-wrap:anywhere}
.strip{display:grid;gap:4px;grid-template-columns:repeat(4,minmax(0,1fr));align-items:start}
.strip.wide{grid-template-columns:minmax(0,1fr)}
.said{color:rgb(var(--bad));font-weight:600}.is{color:rgb(var(--good));font-weight:600}
.maps{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:22px 34px}
.map-row{display:grid;gap:6px;grid-template-columns:repeat(6,minmax(0,1fr));align-items:start;
 margin-bottom:4px;font-size:11.5px;line-height:1.3;color:var(--soft)}
.map-row figure{text-align:center}.map-row .wide{grid-column:span 3}
.row-name{font-size:12.5px;color:var(--soft);margin:8px 0 3px}
.maps h3{margin:0 0 6px;color:var(--text)}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0;font-size:14px}
.facts dt{color:var(--soft)}.facts dd{margin:0;overflow-wrap:anywhere}
footer{color:var(--soft);font-size:13px;margin:18px 4px 0}
@media(max-width:520px){main{padding:12px 10px 40px}section{padding:14px 12px 16px}
 h1{font-size:22px}.tiles{grid-template-columns:1fr 1fr;gap:8px}.tile{padding:9px 11px}
 .tile.first,.tile:last-child:nth-child(even){grid-column:1/-1}.plot{grid-template-rows:170px 1.5em}
 .matrix{border-spacing:1px}.matrix th,.matrix td{font-size:11.5px;height:27px}
 .facts{grid-template-columns:1fr}.facts dt{margin-top:5px;font-size:13px}
 th,td{padding-right:12px}.bar{width:54px;margin-right:6px}
 .stacked thead{display:none}.stacked,.stacked tbody,.stacked tr,.stacked td{display:block}
 .stacked tr{padding:9px 0;border-bottom:1px solid var(--rule)}.stacked tr:last-child{border:0}
 .stacked td{border:0;padding:1px 0;display:flex;justify-content:space-between;gap:14px;
  text-align:left;white-space:normal}
 .stacked td div{text-align:right;overflow-wrap:anywhere;min-width:0}
 .stacked .column{display:block;color:var(--soft);flex:none;max-width:60%}
 .stacked .chip{white-space:normal;overflow-wrap:anywhere}
 .path{white-space:normal;overflow-wrap:break-word}}
"""
