"""A small portfolio as text, to be changed by the tests."""

from pathlib import Path

FILES = {
    "sites.csv": """\
site_id,name,zone,currency,area_m2
rome,"Villa, Appia",Europe/Rome,EUR,180.5
berlin,Haus,Europe/Berlin,EUR,
""",
    "meters.csv": """\
meter_id,site_id,name,commodity,meter_id_digiwatt
rome.mains,rome,Mains,electricity,87c3897
rome.gas,rome,Gas,gas,
berlin.mains,berlin,Mains,electricity,a1
berlin.room,berlin,Room,temperature,
""",
    "registers.csv": """\
register_id,meter_id,role,appliance,kind,unit,grid_minutes,digits,rating_native_per_hour,\
resolution_native,stamp,is_primary,register_id_wattsense
rome.import,rome.mains,mains,,cumulative,kWh,15,6,26.8,0.001,instant,true,B1/p1
rome.gas,rome.gas,mains,,cumulative,m3,15,,,0.01,instant,true,B1/p2
berlin.import,berlin.mains,mains,,cumulative,Wh,15,9,20000,1,instant,false,B2/p1
berlin.room,berlin.room,sensor,,instant,degC,15,,,0.1,instant,true,
""",
    "exchanges.csv": """\
register_id,exchanged_at,final_native,initial_native
rome.import,2024-03-01T10:00:00+01:00,999.5,0
""",
    "gaps.csv": """\
register_id,from_at,to_at,reason
rome.gas,2024-03-01T00:00:00Z,2024-03-02T00:00:00Z,meter removed
""",
    "streams.csv": """\
stream_id,register_id,field,content,interval_minutes,credential,push_from_at
dp-1,rome.import,pC_1,cumulative_wh,15,main,
dp-2,rome.gas,value,interval,30,main,2024-03-01T00:00:00Z
dp-3,berlin.room,value,sample,15,second,
""",
    "tariffs.csv": """\
site_id,valid_from_on,valid_to_on,from_local_time,to_local_time,days,price_per_kwh
rome,2024-01-01,2024-02-01,00:00,24:00,all,0.25
rome,2024-02-01,,00:00,24:00,all,0.31
""",
}


def write_files(folder: Path, changes: dict[str, tuple[str, str]] | None = None) -> Path:
    """Write the files, each change (old text -> new text) made in its file."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        old, new = (changes or {}).get(name, ("", ""))
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1) if old else content)
    return folder
