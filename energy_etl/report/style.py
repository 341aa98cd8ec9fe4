"""How the page looks: one style sheet for wide and narrow screens, light, dark and paper.

Colours are those of `palette.py`. Nothing is wider than its place: long words break, pictures
scale, and on screens below 900 px the rows of tables become blocks of labelled lines. Paper keeps
tables, in small print.
"""

from typing import Final

from energy_etl.report.palette import BESIDE, DARK, LIGHT, variables

_BASE: Final = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--ground);color:var(--text);
font:15px/1.5 system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif;overflow-wrap:anywhere}
header,main,footer{max-width:1240px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
h1{font-size:27px;line-height:1.2;margin:0 0 2px;letter-spacing:-.01em}
h2{font-size:20px;margin:0 0 6px;line-height:1.3}
h3{font-size:16px;margin:0 0 6px}
h4{font-size:14px;margin:0 0 6px;font-weight:600}
p{margin:0 0 8px}
small{font-size:12px;color:var(--soft);font-weight:400}
a{color:var(--own)}
section{margin:44px 0 0;scroll-margin-top:12px}
.lead,.sub{color:var(--soft);max-width:82ch}
.lead{margin-bottom:14px}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:2px 18px;margin:12px 0 0;padding:10px 0 0;
border-top:1px solid var(--line)}
.tiles{display:grid;grid-template-columns:repeat(5,1fr);gap:12px;margin:18px 0}
.tile{background:var(--panel);border:1px solid var(--line);border-radius:8px;padding:12px 14px}
.tile p{margin:0}
.tile .label,.tile .note{color:var(--soft);font-size:13px}
.tile .line{display:block}
.tile .figure{overflow-wrap:break-word}
.tile .figure{font-size:24px;font-weight:650;line-height:1.35;font-variant-numeric:tabular-nums}
.attention{border:1px solid var(--line);border-left:5px solid var(--gap);border-radius:8px;
padding:12px 16px;background:var(--panel)}
.attention ul{margin:0;padding:0;list-style:none;display:grid;
grid-template-columns:repeat(auto-fill,minmax(min(100%,340px),1fr));gap:2px 24px}
.attention li{padding-left:14px;text-indent:-14px}
.attention li::before{content:'!';color:var(--bad);font-weight:700;margin-right:8px}
.attention a{color:var(--text)}
.missing{background:var(--panel);border:1px dashed var(--soft);border-radius:8px;padding:12px 14px}
.note{font-size:13px;color:var(--soft);margin:6px 0 0}
.none{color:var(--soft)}
.id{display:block;overflow-wrap:anywhere}
h3 .id{display:inline;margin-left:8px}
.flat{color:var(--soft)}
.arrow{font-size:11px}
.badge{display:inline-block;border:1px solid currentColor;border-radius:99px;padding:0 8px;
font-size:12px;line-height:1.5;white-space:nowrap;color:var(--soft);margin-left:4px}
.badge:first-child{margin-left:0}
.badge.good{color:var(--good)}
.badge.bad{color:var(--bad);font-weight:600}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
th,td{padding:7px 8px;text-align:left;vertical-align:middle;border-bottom:1px solid var(--line)}
thead th{font-size:12px;font-weight:600;color:var(--soft);vertical-align:bottom;
border-bottom:1px solid var(--soft);overflow-wrap:normal}
tbody th{font-weight:600;min-width:9em}
td small{display:block}
.none small{display:inline}
.number{text-align:right;overflow-wrap:normal}
.picture{min-width:120px}
td.picture>div{max-width:300px}
.heat td.picture>div{max-width:none}
.dense td,.dense tbody th{padding-top:4px;padding-bottom:4px}
.dense .id{display:inline;margin-left:8px}
h3+table{margin-top:4px}
table+h3{margin-top:28px}
summary{cursor:pointer;padding:8px 0;color:var(--own);font-weight:600}
summary h3{display:inline;color:var(--text)}
table+details{margin-top:10px}
.attention summary{color:var(--text);font-weight:400;padding:2px 0 0}
article{border-top:1px solid var(--line);padding:16px 0 8px}
article:has(>details){padding:0}
article>details[open]{padding-bottom:14px}
.panels{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));gap:16px 28px;
scroll-margin-top:56px}
.panel svg{display:block;width:100%;height:auto;max-width:480px}
.panel text{font-size:12px;font-family:inherit;fill:var(--soft)}
.panel .strong{fill:var(--text)}
.panel .tick{font-size:11px}
.strip{display:block;width:100%;height:20px}
.heat .strip{height:17px}
.weeks{display:grid;grid-auto-flow:column;grid-auto-columns:1fr}
.heat td,.heat th{padding:2px 8px;border-bottom:0}
.heat thead th{padding-bottom:6px;border-bottom:1px solid var(--line)}
.heat tbody th{font-weight:400;width:24%}
.heat tbody th .id{display:inline;margin-left:8px}
.heat .number{width:84px}
.full{fill:var(--own)}
.part{fill:var(--gap)}
.none-cell{fill:var(--ground);stroke:var(--soft);stroke-width:1;vector-effect:non-scaling-stroke}
rect.part{fill:var(--ground);stroke:var(--gap);stroke-width:2;vector-effect:non-scaling-stroke}
rect.band{fill:var(--band)}
.whose{font-size:13px;color:var(--soft);margin:0 0 6px}
.axis{stroke:var(--soft);stroke-width:1}
circle.dot{fill:var(--own)}
.off{fill:var(--gap)}
.key{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0 0;padding:0;
font-size:13px;color:var(--soft)}
.key .dot{display:inline-block;width:11px;height:11px;border-radius:2px;margin-right:6px;
vertical-align:-1px;border:1px solid transparent}
.key .hollow{border:2px solid var(--own)}
.key .cross::before{content:'×';color:var(--gap);font-weight:700;position:relative;top:-6px}
.key .own{background:var(--own)}
.key .previous{background:var(--previous);border-color:var(--edge)}
.key .band{background:var(--band);border-color:var(--soft)}
.key .dot-within{background:var(--own);border-radius:50%}
.key .dot-off{background:var(--gap);transform:rotate(45deg) scale(.8)}
.shares{display:grid;grid-template-columns:1fr;gap:1px;color:var(--text)}
.shares li{display:flex;align-items:center;gap:2px}
.shares bdi{flex:1;min-width:0}
.shares b{font-weight:500;white-space:nowrap;font-variant-numeric:tabular-nums}
.reasons{margin:10px 0 0;padding-left:18px;font-size:14px;color:var(--soft)}
.finding{border-top:1px solid var(--line);padding:12px 0 6px}
.finding ul{margin:0;padding:0;list-style:none}
.finding li{padding:4px 0}
.finding li b{font-weight:600;margin-right:8px}
code{font:13px/1.4 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--panel);
border:1px solid var(--line);border-radius:4px;padding:0 4px}
.step{color:var(--soft);margin:0 0 4px}
.next{font-weight:600;color:var(--good)}
footer{margin:48px auto 32px;color:var(--soft);font-size:13px}
@media (max-width:1000px){
.panels{grid-template-columns:repeat(auto-fit,minmax(min(100%,340px),1fr))}
.tiles{grid-template-columns:repeat(auto-fit,minmax(150px,1fr))}
}
@media screen and (max-width:900px){
header,main,footer{padding:0 14px}
header{padding-top:18px}
h1{font-size:23px}
section{margin-top:34px}
table,tbody,tr,td,tbody th{display:block;width:auto}
thead{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}
tr{padding:8px 0;border-bottom:1px solid var(--line)}
td,tbody th{border:0;padding:1px 0;text-align:left}
td{display:flex;justify-content:space-between;gap:14px}
td::before{content:attr(data-label);color:var(--soft);flex:0 0 auto;max-width:50%}
td>div{text-align:right;min-width:0}
td.picture>div,.heat td.picture>div{flex:1;max-width:none}
tbody th{min-width:0}
td.picture::before{display:none}
.dense tr{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));column-gap:22px}
.dense tbody th,.dense td.picture,.dense td.text{grid-column:1/3}
.heat tr{display:grid;grid-template-columns:1fr auto;padding:5px 0;border:0}
.heat tbody th{width:auto;padding:0}
.heat td{padding:0}
.heat td.picture{grid-row:2;grid-column:1/3}
.heat td.number{width:auto}
.heat td.number::before{display:none}
}
@media (max-width:480px){
.tiles{grid-template-columns:1fr 1fr;gap:8px}
.tile{padding:9px 11px}
.tile .figure{font-size:20px}
.tile:last-child:nth-child(odd){grid-column:1/-1}
}
@media print{
@page{margin:14mm}
body{font-size:10.5pt}
header,main,footer{max-width:none;padding:0}
nav{display:none}
.on-paper::details-content{content-visibility:visible;height:auto}
summary{list-style:none;break-after:avoid;color:inherit}
a{color:inherit;text-decoration:none}
section{margin-top:22px}
h2,h3,h4,.lead{break-after:avoid}
tr,article,.panel,.tile,.finding li,.attention{break-inside:avoid}
thead{display:table-header-group}
table{font-size:8pt}
small,thead th,.badge{font-size:7.5pt}
th,td{padding:4px}
tbody th{min-width:7em}
.picture{min-width:60px}
.dense .id{display:block;margin-left:0}
.tiles{grid-template-columns:repeat(5,1fr);gap:8px}
.panels{grid-template-columns:repeat(2,minmax(0,1fr));gap:12px 24px}
.panel:nth-child(2){grid-row:span 2}
.tile{padding:8px 10px}
.tile .figure{font-size:13pt}
.tile .label,.tile .note{font-size:8pt}
#sites,#delivery,#findings{break-before:page}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""


def style_sheet() -> str:
    """Return the whole style sheet; paper is always light."""
    series = "".join(f".key .{each}{{background:var(--{each})}}" for each in BESIDE)
    return (
        f":root{{color-scheme:light dark;{variables(LIGHT)}}}"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{variables(DARK)}}}}}"
        f"{_BASE.replace(chr(10), '')}{series}"
    )
